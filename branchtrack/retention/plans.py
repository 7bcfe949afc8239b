"""What a sweep of a run would leave and free, computed without changing anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from branchtrack.core.records import Run
from branchtrack.db import runs
from branchtrack.db.storage import references, sizes, standing
from branchtrack.retention import choices
from branchtrack.retention.choices import Choice, Commit, Proof, Situation
from branchtrack.retention.policies import Policy


@dataclass(frozen=True)
class BranchPlan:
    """A branch: its nodes by what is left of their checkpoints, and the bytes freed with them."""

    name: str
    nodes: int
    whole: int
    weights: int
    recipe: int
    frees: int


@dataclass(frozen=True)
class Plan:
    """What a policy does to a run now.

    ``left`` says of checkpoints that are to be thinned what is left; ``branches`` count all nodes
    as they will be. ``freed_bytes`` are of tensors, those that earlier sweeps left included;
    ``longest`` is the number of updates of the longest rebuild.
    """

    run: Run
    policy: Policy
    left: Mapping[str, str]
    branches: tuple[BranchPlan, ...]
    freed_bytes: int
    longest: int
    why: Mapping[str, int] = field(default_factory=dict)


def commits_of(connection: Connection, run_id: str, *, metrics: bool = False) -> list[Commit]:
    """Return the nodes of a run, oldest first."""
    return [
        Commit(
            seq=row.seq,
            id=row.id,
            branch=row.branch,
            segment=row.segment,
            parent=row.parent,
            step=row.step,
            kind=row.kind,
            checkpoint=row.checkpoint,
            pinned=row.pinned_at is not None,
            merge_parent=row.merge_parent,
            metrics=row.metrics or {},
            thinned=row.thinned,
        )
        for row in standing.node_rows(connection, run_id, metrics=metrics)
    ]


def decide(
    connection: Connection, run_id: str, policy: Policy
) -> tuple[list[Commit], dict[str, Choice]]:
    """Return a run's nodes, and what a policy leaves of each checkpoint of theirs."""
    metrics = policy.best is not None or policy.keep == "thin"
    commits = commits_of(connection, run_id, metrics=metrics)
    situation = Situation(
        heads=frozenset(standing.heads(connection, run_id)),
        needed=standing.in_use(connection, run_id),
        best_steps=frozenset(standing.best_steps(connection, run_id)),
        proofs=_proofs(connection, run_id),
    )
    chosen = choices.choose(commits, situation, policy)
    foreign = sizes.held_elsewhere(connection, run_id, to_thin(commits, chosen))
    for digest in foreign:
        chosen[digest] = Choice("whole", "a node of another run has the same state")
    return commits, chosen


def to_thin(commits: list[Commit], chosen: Mapping[str, Choice]) -> dict[str, str]:
    """Return what is to be left of those checkpoints of which more is left now."""
    return {
        commit.checkpoint: chosen[commit.checkpoint].left
        for commit in commits
        if chosen[commit.checkpoint].left not in ("whole", commit.thinned)
    }


def plan(connection: Connection, run_id: str, policy: Policy) -> Plan:
    """Return what a sweep by ``policy`` would do now."""
    run = runs.get_run(connection, run_id)
    commits, chosen = decide(connection, run_id, policy)
    left = to_thin(commits, chosen)
    freed = _freed(connection, commits, left)
    names = {branch.id: branch.name for branch in runs.list_branches(connection, run_id)}
    counts: dict[str, Counter[str]] = {branch: Counter() for branch in names}
    for commit in commits:
        counts[commit.branch][chosen[commit.checkpoint].left] += 1
    branches = tuple(
        BranchPlan(
            name,
            counts[branch].total(),
            whole=counts[branch]["whole"],
            weights=counts[branch]["weights"],
            recipe=counts[branch]["recipe"],
            frees=freed.get(branch, 0),
        )
        for branch, name in names.items()
    )
    why = Counter(chosen[commit.checkpoint].why for commit in commits)
    return Plan(run, policy, left, branches, sum(freed.values()), _longest(commits, chosen), why)


def garbage(connection: Connection) -> dict[str, int]:
    """Return the bytes of every stored tensor that no checkpoint needs, by digest."""
    needed = {digest for reference in references.of_all(connection) for digest in reference.tensors}
    stored = sizes.tensor_sizes(connection)
    return {digest: nbytes for digest, _, nbytes in stored if digest not in needed}


def _freed(
    connection: Connection, commits: list[Commit], left: Mapping[str, str]
) -> dict[str, int]:
    """Return the bytes that become free, by branch; what no node had counts for none ("")."""
    needed: set[str] = set()
    given_up: dict[str, list[str]] = {}
    for reference, lost in references.losses(connection, left):
        needed.update(reference.tensors)
        if lost:
            given_up[reference.checkpoint] = lost
    stored = sizes.tensor_sizes(connection)
    free = {digest: nbytes for digest, _, nbytes in stored if digest not in needed}
    freed: dict[str, int] = defaultdict(int)
    branch_of = {commit.checkpoint: commit.branch for commit in reversed(commits)}
    for checkpoint, lost in given_up.items():
        for digest in lost:
            freed[branch_of[checkpoint]] += free.pop(digest, 0)
    freed[""] = sum(free.values())
    return freed


def _longest(commits: list[Commit], chosen: Mapping[str, Choice]) -> int:
    """Return the updates of the longest rebuild."""
    anchors: dict[str, int] = {}
    longest = 0
    for commit in commits:
        if chosen[commit.checkpoint].left == "whole":
            anchors[commit.segment] = commit.step
        elif chosen[commit.checkpoint].left == "recipe" and commit.segment in anchors:
            longest = max(longest, commit.step - anchors[commit.segment])
    return longest


def _proofs(connection: Connection, run_id: str) -> list[Proof]:
    """Return the trials of segments whose newest one found no difference."""
    by_segment: dict[str, list[standing.Trial]] = defaultdict(list)
    for trial in standing.trials(connection, run_id):
        by_segment[trial.segment].append(trial)
    return [
        Proof(trial.segment, trial.first, trial.last, trial.implies)
        for trials in by_segment.values()
        if trials[-1].exact
        for trial in trials
        if trial.exact
    ]

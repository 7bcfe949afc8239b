"""What a policy leaves of each checkpoint of a run, decided from values alone.

Nodes share checkpoints by their state digest: what protects one node of a checkpoint protects it
for all. Nothing here reads a database, a file or a clock.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from branchtrack.retention.policies import Best, Policy

#: The metrics by which `thin` keeps the best node of a run if its policy names none.
_DEFAULT_BEST = ("eval_loss", "loss")


@dataclass(frozen=True)
class Commit:
    """A node, as far as retention looks at it; ``thinned`` is what is left of its checkpoint."""

    seq: int
    id: str
    branch: str
    segment: str
    parent: str | None
    step: int
    kind: str
    checkpoint: str
    pinned: bool = False
    merge_parent: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    thinned: str | None = None


@dataclass(frozen=True)
class Proof:
    """A trial that reached the state of its later node, in one segment, between two steps.

    ``whole``: it implies that the rest of the segment can be trained again with equal bits, too.
    """

    segment: str
    first: int
    last: int
    whole: bool


@dataclass(frozen=True)
class Situation:
    """What else decides: heads of branches, nodes that launches, segments or trainings need.

    ``proofs`` are of segments whose newest trial found no difference.
    """

    heads: frozenset[str] = frozenset()
    needed: Mapping[str, str] = field(default_factory=dict)
    best_steps: frozenset[int] = frozenset()
    proofs: Sequence[Proof] = ()


@dataclass(frozen=True)
class Choice:
    """What is left of a checkpoint (``whole``, ``weights``, ``recipe``), and why."""

    left: str
    why: str


def choose(commits: Sequence[Commit], situation: Situation, policy: Policy) -> dict[str, Choice]:
    """Return what is left of each checkpoint of a run; ``commits`` are all its nodes, by ``seq``.

    What was thinned before stays thinned: it may be thinned further, never back.
    """
    reasons = _structural(commits, situation)
    old = _old(commits, policy)
    for digest, why in _by_policy(commits, policy).items():
        reasons.setdefault(digest, Choice("weights", f"{why}, old") if digest in old else why)
    choices = {d: r if isinstance(r, Choice) else Choice("whole", r) for d, r in reasons.items()}
    if policy.keep == "all":
        for commit in commits:
            is_old = commit.checkpoint in old
            left = Choice("weights", "old") if is_old else Choice("whole", "keep all")
            choices.setdefault(commit.checkpoint, left)
    else:
        _thin(commits, situation.proofs, choices)
    _keep_anchors(commits, choices)
    return {d: _not_back(c, choices[d]) for d, c in _thinned(commits).items()}


def _thinned(commits: Iterable[Commit]) -> dict[str, str | None]:
    return {commit.checkpoint: commit.thinned for commit in commits}


def _not_back(thinned: str | None, choice: Choice) -> Choice:
    if thinned == "recipe" or (thinned == "weights" and choice.left == "whole"):
        return Choice(thinned, "thinned before")
    return choice


def _structural(commits: Sequence[Commit], situation: Situation) -> dict[str, str | Choice]:
    """Return why checkpoints stay that the tree, a person or a process needs, by digest."""
    branch_of = {commit.id: commit.branch for commit in commits}
    forked = {c.parent for c in commits if c.parent and branch_of.get(c.parent) != c.branch}
    merged = {commit.merge_parent for commit in commits if commit.merge_parent}
    reasons: dict[str, str | Choice] = {}
    for commit in commits:
        holds = {
            "root": commit.kind == "root" or commit.parent is None,
            "head": commit.id in situation.heads,
            "fork": commit.kind == "fork",
            "fork point": commit.id in forked,
            "merged": commit.id in merged or commit.merge_parent,
            "pinned": commit.pinned,
            "final": commit.kind == "final",
            situation.needed.get(commit.id): commit.id in situation.needed,
            "best of a training": commit.step in situation.best_steps,
        }
        why = next((reason for reason, is_so in holds.items() if is_so), None)
        if why is not None:
            reasons.setdefault(commit.checkpoint, why)
        if commit.pinned:
            reasons[commit.checkpoint] = "pinned"
    return reasons


def _by_policy(commits: Sequence[Commit], policy: Policy) -> dict[str, str]:
    """Return why a policy keeps checkpoints that it could thin, by digest."""
    reasons: dict[str, str] = {}
    if policy.last:
        of_branch: dict[str, list[Commit]] = defaultdict(list)
        for commit in commits:
            of_branch[commit.branch].append(commit)
        for line in of_branch.values():
            reasons |= {commit.checkpoint: "last" for commit in line[-policy.last :]}
    if policy.every:
        on_grid = (commit for commit in commits if commit.step % policy.every == 0)
        reasons |= {commit.checkpoint: "every" for commit in on_grid}
    best = policy.best or (_default_best(commits) if policy.keep == "thin" else None)
    if best is not None:
        reasons |= {commit.checkpoint: "best" for commit in _best(commits, best)}
    return reasons


def _default_best(commits: Sequence[Commit]) -> Best | None:
    names = {name for commit in commits for name in commit.metrics}
    return next((Best(name, 1, "min") for name in _DEFAULT_BEST if name in names), None)


def _best(commits: Iterable[Commit], best: Best) -> list[Commit]:
    """Return the nodes with the best finite values; a checkpoint counts once."""
    sign = -1.0 if best.mode == "max" else 1.0
    ranked: dict[str, tuple[float, int, Commit]] = {}
    for commit in commits:
        value = commit.metrics.get(best.metric)
        if isinstance(value, int | float) and math.isfinite(value):
            entry = (sign * value, commit.seq, commit)
            known = ranked.get(commit.checkpoint)
            ranked[commit.checkpoint] = entry if known is None else min(known, entry)
    return [commit for _, _, commit in sorted(ranked.values())[: best.count]]


def _old(commits: Sequence[Commit], policy: Policy) -> set[str]:
    """Return the checkpoints whose every node is too old to keep its optimizer state."""
    if policy.drop_optimizer_after is None:
        return set()
    newest: dict[str, int] = {}
    for commit in commits:
        newest[commit.branch] = max(commit.step, newest.get(commit.branch, 0))
    recent = {
        commit.checkpoint
        for commit in commits
        if newest[commit.branch] - commit.step < policy.drop_optimizer_after
    }
    return {commit.checkpoint for commit in commits} - recent


def anchor(commits: Sequence[Commit], target: Commit) -> Commit | None:
    """Return the whole node from which ``target`` can be trained again; ``commits`` by ``seq``.

    It is the nearest before it in its segment. Of several nodes of one step only the last one has
    all changes that were made there.
    """
    last = _last_of_steps(commits)
    return next(
        (
            commit
            for commit in reversed(commits)
            if commit.segment == target.segment
            and commit.step < target.step
            and commit.thinned is None
            and last[commit.segment, commit.step] == commit.seq
        ),
        None,
    )


def _last_of_steps(commits: Iterable[Commit]) -> dict[tuple[str, int], int]:
    return {(commit.segment, commit.step): commit.seq for commit in commits}


def _thin(commits: Sequence[Commit], proofs: Sequence[Proof], choices: dict[str, Choice]) -> None:
    """Choose for all other checkpoints: a recipe if it is proved to lead there, else weights."""
    states: dict[tuple[str, int], set[str]] = defaultdict(set)
    for commit in commits:
        states[commit.segment, commit.step].add(commit.checkpoint)
    last, anchors = _last_of_steps(commits), dict[str, int]()
    for commit in commits:
        if commit.checkpoint not in choices:
            is_alone = len(states[commit.segment, commit.step]) == 1
            start = anchors.get(commit.segment)
            choices[commit.checkpoint] = _other(commit, start, proofs, is_alone)
        is_whole = choices[commit.checkpoint].left == "whole" and commit.thinned is None
        if is_whole and last[commit.segment, commit.step] == commit.seq:
            anchors[commit.segment] = commit.step


def _other(commit: Commit, start: int | None, proofs: Sequence[Proof], is_alone: bool) -> Choice:
    """Choose for a checkpoint that nothing protects; ``start`` is the step of its anchor."""
    covering = [
        proof
        for proof in proofs
        if proof.segment == commit.segment
        and (proof.whole or proof.first <= commit.step <= proof.last)
    ]
    if not covering:
        return Choice("weights", "not certified exact")
    if start is None or not any(proof.whole or proof.first <= start for proof in covering):
        return Choice("whole", "a proof begins here, or nothing is before it")
    if not is_alone:
        # A trial compares what a step ends with.
        return Choice("whole", "one of several states of its step")
    return Choice("recipe", "rebuilt on demand")


def _keep_anchors(commits: Sequence[Commit], choices: dict[str, Choice]) -> None:
    """Let no checkpoint lose its optimizer if a recipe that was left before begins there."""
    followed: set[str] = set()
    for commit in reversed(commits):
        if commit.segment in followed and choices[commit.checkpoint].left == "weights":
            choices[commit.checkpoint] = Choice("whole", "a recipe begins here")
        if commit.thinned == "recipe":
            followed.add(commit.segment)

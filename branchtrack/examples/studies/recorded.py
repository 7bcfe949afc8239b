"""What the record says of a study's training: all figures of its tables come from here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from branchtrack.core.agents.budgets import Spent
from branchtrack.core.records import Node, Run, Segment
from branchtrack.db import metrics, nodes, requests, runs, segments
from branchtrack.db.watching import agents
from branchtrack.errors import BranchtrackError
from branchtrack.examples.studies.outcome import Outcome

#: Requests that change nothing of what is trained, and the states of those that changed something.
_HARMLESS = {"pause", "unpause", "note", "evaluate", "checkpoint", "stop"}
_DONE = {"applied", "verified", "done"}
#: The held-out loss by which others may choose.
METRIC = "eval_loss"


@dataclass(frozen=True)
class Best:
    """The node of a run with the lowest held-out (validation) loss, and that loss."""

    node: Node
    loss: float


@dataclass(frozen=True)
class Training:
    """One run: its result is the node of step ``step`` of ``branch``, the best or the last one.

    ``eval_loss`` is that node's, by which it was chosen, ``test_loss`` that of data which nothing
    was chosen by. ``steps`` are the updates of all branches, ``seconds`` the time of all its
    processes from their first update on. ``interventions`` are changes that took effect, and forks.
    ``curve`` has pairs of updates so far and held-out loss, in the order in which they were
    trained.
    """

    run: str
    branch: str
    step: int
    steps: int
    seconds: float
    interventions: int
    tokens: int
    curve: Sequence[tuple[float, float]]
    eval_loss: float
    test_loss: float

    @property
    def ref(self) -> str:
        """RUN/BRANCH@STEP of its result."""
        return f"{self.run}/{self.branch}@{self.step}"


def read(connection: Connection, run: Run) -> Training:
    """Return what was recorded of a run that has ended.

    Raises:
        BranchtrackError: no process of it has measured the test loss.
    """
    spans = sorted(segments.list_of_run(connection, run.id), key=lambda s: s.started_at or math.inf)
    spans = [segment for segment in spans if segment.started_at is not None]
    last = metrics.last_values(connection, [segment.id for segment in spans])
    tested = [segment for segment in spans if "test_loss" in last[segment.id]]
    if not tested:
        raise BranchtrackError(
            f"{run.name} has no test_loss: its training did not reach its end.",
            fix="Start the study again: it trains this anew.",
        )
    # Each process tests the best node that there is at its end; one of them was the best of all.
    end = min(tested, key=lambda segment: rank(last[segment.id].get("best_loss", math.inf)))
    values = last[end.id]
    best = best_node(connection, spans) if "best_loss" in values else None
    branch_id, step = (best.node.branch_id, best.node.step) if best else (end.branch_id, end.step)
    return Training(
        run=run.name,
        branch=runs.get_branch(connection, branch_id).name,
        step=step,
        steps=segments.trained_steps(connection, run.id),
        seconds=sum((s.ended_at or s.heartbeat_at or 0.0) - (s.started_at or 0.0) for s in spans),
        interventions=_interventions(connection, run.id),
        tokens=sum(Spent.read(a.spent).tokens for a in agents.listed(connection, run.id)),
        curve=curve(connection, spans),
        eval_loss=best.loss if best else values["eval_loss"],
        test_loss=values["test_loss"],
    )


def best_node(connection: Connection, spans: Sequence[Segment]) -> Best | None:
    """Return the best node of some segments, the first of equal ones; None without a finite loss.

    Only a loss that was measured at the node's own step is one of it.
    """
    series = metrics.read(connection, [segment.id for segment in spans], METRIC)
    best: Best | None = None
    for segment in spans:
        if segment.id not in series:
            continue
        part = series[segment.id]
        losses = dict(zip(part.steps.tolist(), part.values.tolist(), strict=True))
        for node in nodes.of_segment(connection, segment.id):
            loss = rank(losses.get(node.step, math.inf))
            if loss < (best.loss if best else math.inf):
                best = Best(node, loss)
    return best


def rank(loss: float) -> float:
    """Return a loss to compare; the worst if it is no number."""
    return loss if math.isfinite(loss) else math.inf


def curve(
    connection: Connection, spans: Sequence[Segment], metric: str = METRIC
) -> list[tuple[float, float]]:
    """Return a metric over all updates of some segments, one after the other."""
    series = metrics.read(connection, [segment.id for segment in spans], metric)
    points: list[tuple[float, float]] = []
    before = 0
    for segment in spans:
        start = _start(connection, segment)
        if segment.id in series:
            part = series[segment.id].cut(start if before else start - 1, None)
            steps, values = part.steps.tolist(), part.values.tolist()
            points += [(before + s - start, v) for s, v in zip(steps, values, strict=True)]
        before += segment.step - start
    return points


def outcome(
    arm: str, case: str, seed: int, trainings: Sequence[Training], best: Training | None = None
) -> Outcome:
    """Return what came of an arm that trained one run or several, of which one is its result.

    Without a ``best`` the last one is. All of them are paid for.
    """
    end = best or trainings[-1]
    points: list[tuple[float, float]] = []
    before = 0
    for training in trainings:
        points += [(before + step, value) for step, value in training.curve]
        before += training.steps
    return Outcome(
        arm=arm,
        case=case,
        seed=seed,
        loss=end.test_loss,
        steps=before,
        seconds=sum(training.seconds for training in trainings),
        interventions=sum(training.interventions for training in trainings),
        tokens=sum(training.tokens for training in trainings),
        curve=points,
        run=end.ref,
        runs=[training.run for training in trainings],
    )


def _start(connection: Connection, segment: Segment) -> int:
    """Return the step that a segment began at."""
    if segment.start_node_id is None:
        return 0
    return nodes.find(connection, segment.start_node_id).step


def _interventions(connection: Connection, run_id: str) -> int:
    """Return how many changes took effect: requests, and forks, which have none."""
    rows = requests.list_of_run(connection, run_id, None)
    changes = [row for row in rows if row.kind not in _HARMLESS and row.state in _DONE]
    branches = [b for b in runs.list_branches(connection, run_id) if b.start_node_id is not None]
    in_place = sum(row.kind in ("rewind", "resume") for row in changes)
    return len(changes) + max(0, len(branches) - in_place)

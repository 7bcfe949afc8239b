"""How one training of a trial ended: its metric and its state, or why it has neither."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from branchtrack.core.launchers.jobs import is_open
from branchtrack.core.lifecycle import LAUNCH_ENDS
from branchtrack.core.records import Launch, Node
from branchtrack.core.trials.records import DIVERGED, DONE, LOST, Pair, Side, Spec
from branchtrack.db import metrics, nodes, runs
from branchtrack.db.orders import launches, queue, withdrawals
from branchtrack.db.storage import references
from branchtrack.errors import NotFound

#: Launches of one side, if its process dies.
_ATTEMPTS = 3


def side_now(connection: Connection, spec: Spec, pair: Pair, side: Side) -> Side:
    """Return a side as it is now; it has no launch if it is to be trained again."""
    if not side.launch:
        return side
    try:
        launch = launches.get(connection, side.launch)
    except NotFound:
        return replace(side, state=LOST, error="Its branch was purged.")
    while (repeated := launches.repeated_by(connection, launch.id)) is not None:
        launch = repeated
    if launch.state not in LAUNCH_ENDS:
        return side
    if launch.state == "cancelled":
        return replace(side, state=LOST, error=launch.error or "It was cancelled.")
    if launch.state == "failed":
        return _after_failure(side, launch)
    measured = _measured(connection, spec, pair, side, launch)
    # Its job may run again, and go on from where it was ended.
    return side if measured.state == LOST and is_open(launch.job_state) else measured


def end(connection: Connection, pairs: Sequence[Pair], actor: str, why: str) -> list[Pair]:
    """Cancel what still waits or trains of pairs, and return them with nothing to be expected."""
    ended = []
    for pair in pairs:
        for index, side in enumerate(pair.sides):
            if side is None or side.is_over:
                continue
            if side.launch:
                queue.cancel(connection, _newest(connection, side.launch), actor)
            pair = pair.with_side(index, replace(side, state=LOST, error=side.error or why))
        ended.append(pair)
    return ended


def _newest(connection: Connection, launch_id: str) -> str:
    """Return the launch that goes on with a launch."""
    while (repeated := launches.repeated_by(connection, launch_id)) is not None:
        launch_id = repeated.id
    return launch_id


def _after_failure(side: Side, launch: Launch) -> Side:
    error = launch.error or "Its process failed."
    if side.attempts >= _ATTEMPTS:
        return replace(side, state=LOST, error=error)
    return replace(side, launch="", error=error)


def _measured(connection: Connection, spec: Spec, pair: Pair, side: Side, launch: Launch) -> Side:
    """Return a side whose process ended well, with the metric at its end."""
    end = pair.step + spec.steps
    if withdrawals.is_withdrawn(connection, launch):
        return replace(side, state=LOST, error="It trained nothing.")
    branch = runs.get_branch(connection, side.branch_id)
    head = nodes.get(connection, branch.head_id) if branch.head_id else None
    if head is None or head.step < end:
        reached = "nothing" if head is None else f"step {head.step:,}"
        return replace(side, state=LOST, error=f"It ended at {reached}, before step {end:,}.")
    series = metrics.read(connection, [launch.segment_id], spec.metric).get(launch.segment_id)
    points = None if series is None else series.cut(pair.step, end)
    if points is None or not points.values.size:
        error = f"Its training logged no {spec.metric} after step {pair.step:,}."
        return replace(side, state=LOST, error=error)
    value, weights = float(points.values[-1]), _weights_digest(connection, head)
    if not math.isfinite(value):
        return replace(side, state=DIVERGED, value=None, digest=weights, error="")
    return replace(side, state=DONE, value=value, digest=weights, error="")


def _weights_digest(connection: Connection, node: Node) -> str:
    """Return a digest of a node's weights; its whole state has its seeds as well."""
    stored = nodes.checkpoint(connection, node.state_digest, need="record")
    weights = sorted(f"{entry[0]} {entry[-1]}" for entry in references.weights(stored.manifest))
    return hashlib.sha256("\n".join(weights).encode()).hexdigest()

"""What is to be looked at from outside: trainings that run, and those that failed unnoticed.

It reads no alert's text and decides nothing: `control.alerts.watch` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, literal, or_, select

from branchtrack.core import lifecycle
from branchtrack.core.names import storable
from branchtrack.core.records import Run, Segment
from branchtrack.db import audit, seals
from branchtrack.db import segments as segment_rows
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import (
    alerts,
    branches,
    checkpoints,
    metric_points,
    metric_series,
    nodes,
    runs,
    segments,
)


@dataclass(frozen=True)
class Watched:
    """The current segment of a branch: the rules of its run, and the branch's newest node.

    ``checkpoint_bytes`` is the size of that node's checkpoint.
    """

    segment: Segment
    watch: dict[str, Any] | None
    head_id: str | None
    head_step: int | None
    head_at: float | None
    checkpoint_bytes: int | None


def current(connection: Connection, since: float) -> list[Watched]:
    """Return the branches whose training runs, or has failed after ``since`` without an alert."""
    crash = literal("crash:").concat(segments.c.id)
    is_noticed = (
        select(alerts.c.id).where(alerts.c.run_id == segments.c.run_id, alerts.c.key == crash)
    ).exists()
    live = and_(
        segments.c.status.in_(sorted(lifecycle.LIVE)),
        or_(segments.c.heartbeat_at.is_(None), segments.c.heartbeat_at > since),
    )
    failed = and_(segments.c.status == "failed", segments.c.ended_at > since)
    query = (
        select(
            segments,
            runs.c.watch,
            nodes.c.id.label("head_id"),
            nodes.c.step.label("head_step"),
            nodes.c.created_at.label("head_at"),
            checkpoints.c.logical_bytes,
        )
        .join(branches, branches.c.segment_id == segments.c.id)
        .join(runs, runs.c.id == segments.c.run_id)
        .outerjoin(nodes, nodes.c.id == branches.c.head_id)
        .outerjoin(checkpoints, checkpoints.c.digest == nodes.c.state_digest)
        .where(or_(live, failed), ~is_noticed, visibility.RUNS, visibility.BRANCHES)
    )
    columns = [column.name for column in segments.c]
    return [
        Watched(
            segment_rows.record({name: row._mapping[segments.c[name]] for name in columns}),
            row.watch,
            row.head_id,
            row.head_step,
            row.head_at,
            row.logical_bytes,
        )
        for row in connection.execute(query)
    ]


def newest_point(connection: Connection, segment_id: str) -> tuple[int, float] | None:
    """Return the highest step and the latest time of the points that are not in a block yet."""
    series = select(metric_series.c.id).where(metric_series.c.segment_id == segment_id)
    tail = select(func.max(metric_points.c.step), func.max(metric_points.c.time)).where(
        metric_points.c.series_id.in_(series)
    )
    step, time = connection.execute(tail).one()
    return None if step is None else (int(step), float(time))


def set_rules(
    connection: Connection,
    run: Run,
    watch: Mapping[str, Any] | None,
    *,
    actor: str,
    reason: str = "",
) -> None:
    """Write what a run is watched for, with an event that says so."""
    audit.lock(connection, run.id)
    value = None if watch is None else dict(watch)
    connection.execute(runs.update().where(runs.c.id == run.id).values(watch=value))
    seals.renew(connection, runs, run.id)
    audit.append(
        connection,
        run.id,
        kind="run",
        ref=run.id,
        state="watched",
        actor=actor,
        reason=storable(reason),
        payload={"watch": value},
    )

"""The launches of all runs that have not ended, or ended lately, with what each trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    Connection,
    Row,
    Select,
    and_,
    case,
    func,
    or_,
    select,
)

from branchtrack.core import lifecycle
from branchtrack.core.records import Launch, Segment
from branchtrack.db import segments as segment_rows
from branchtrack.db.deletion import visibility
from branchtrack.db.orders import queue
from branchtrack.db.tables import branches, launches, runs, segments


@dataclass(frozen=True)
class QueueRow:
    """A launch with its run's and branch's names; ``segment`` is None if that was withdrawn.

    ``branch`` is the name that the branch has now, or that it was ordered under if it is gone.
    """

    launch: Launch
    run: str
    branch: str
    segment: Segment | None


def unfinished(connection: Connection, limit: int) -> tuple[list[QueueRow], int]:
    """Return launches with a process, oldest first, then the queue in its order; and their count.

    At most ``limit`` are returned, the count is that of all.
    """
    waits = case((launches.c.state == "queued", 1), else_=0)
    query = (
        _rows()
        .add_columns(func.count().over().label("total"))
        .where(launches.c.state.not_in(sorted(lifecycle.LAUNCH_ENDS)))
        .order_by(waits, *queue.ORDER)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return [_row(row) for row in rows], rows[0].total if rows else 0


def recent_ends(
    connection: Connection, limit: int, before: tuple[float, int] | None = None
) -> list[QueueRow]:
    """Return the launches that ended last, the latest first.

    ``before`` is (updated_at, seq) of the last one of the page before.
    """
    query = (
        _rows()
        .where(launches.c.state.in_(sorted(lifecycle.LAUNCH_ENDS)), visibility.RUNS)
        .order_by(launches.c.updated_at.desc(), launches.c.seq.desc())
        .limit(limit)
    )
    if before is not None:
        moment, seq = before
        same = and_(launches.c.updated_at == moment, launches.c.seq < seq)
        query = query.where(or_(launches.c.updated_at < moment, same))
    return [_row(row) for row in connection.execute(query)]


def row_of(connection: Connection, launch_id: str) -> QueueRow:
    """Return the launch with exactly that id."""
    return _row(connection.execute(_rows().where(launches.c.id == launch_id)).one())


def _rows() -> Select[Any]:
    return (
        select(
            launches,
            segments,
            runs.c.name.label("run_name"),
            func.coalesce(branches.c.name, launches.c.branch, launches.c.branch_id).label(
                "branch_name"
            ),
        )
        .join_from(launches, runs, runs.c.id == launches.c.run_id)
        .outerjoin(branches, branches.c.id == launches.c.branch_id)
        .outerjoin(segments, segments.c.id == launches.c.segment_id)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )


def _row(row: Row[Any]) -> QueueRow:
    launch, segment = (
        {column.name: row._mapping[f"{table.name}_{column.name}"] for column in table.c}
        for table in (launches, segments)
    )
    record = None if segment["id"] is None else segment_rows.record(segment)
    return QueueRow(Launch(**launch), row.run_name, row.branch_name, record)

"""The list of runs at a glance: counts, what trains, and the course of each loss in few numbers.

Pages, shell and API read the same list; each statement is for any number of runs. It only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    null,
    or_,
    select,
    tuple_,
    union_all,
)

from branchtrack.core.records import Run, Segment
from branchtrack.db import segments as segment_rows
from branchtrack.db.metrics import Series
from branchtrack.db.tables import (
    branches,
    metric_blocks,
    metric_points,
    metric_series,
    nodes,
    runs,
    segments,
)

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
#: Buckets that a series' unsealed tail is cut into; each yields its extremes.
_TILES = 30


@dataclass(frozen=True)
class RunSummary:
    """A run, its numbers of branches and nodes, and how many runs the search found in all."""

    run: Run
    branches: int
    nodes: int
    total: int


@dataclass(frozen=True)
class SegmentSummary:
    """A segment, its branch's name, and the (segment, step) at which it starts."""

    segment: Segment
    branch: str
    is_current: bool
    start: tuple[str, int] | None


@dataclass(frozen=True)
class Extent:
    """Some points of a series: their extremes, and the newest value (None is NaN).

    ``block`` names a sealed block whose points `points_of` can read.
    """

    block: tuple[int, int] | None
    first_step: int
    last_step: int
    minimum: float | None
    maximum: float | None
    last: float | None


def find_runs(
    connection: Connection,
    search: str = "",
    *,
    limit: int | None = None,
    offset: int = 0,
) -> list[RunSummary]:
    """Return runs whose name, notes or tags contain ``search``, the latest changed first."""
    query = _summaries()
    if search:
        columns = (runs.c.name, runs.c.notes, cast(runs.c.tags, Text))
        query = query.where(or_(*(column.icontains(search, autoescape=True) for column in columns)))
    query = query.order_by(runs.c.updated_at.desc(), runs.c.id).limit(limit).offset(offset)
    return [_summary(row) for row in connection.execute(query)]


def created_runs(
    connection: Connection, limit: int, after: tuple[float, str] | None = None
) -> list[RunSummary]:
    """Return the latest created runs first, starting with those created before ``after``.

    ``after`` is (created_at, id) of the last one seen: unlike the order of changes this one does
    not change while a reader pages through it.
    """
    query = _summaries().order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    if after is not None:
        created_at, run_id = after
        same = and_(runs.c.created_at == created_at, runs.c.id < run_id)
        query = query.where(or_(runs.c.created_at < created_at, same))
    return [_summary(row) for row in connection.execute(query)]


def current_segments(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[Segment]]:
    """Return the current segments of each run's branches, in the order of the branches."""
    current: dict[str, list[Segment]] = {}
    for first in range(0, len(run_ids), _CHUNK):
        query = (
            select(segments)
            .join(branches, branches.c.segment_id == segments.c.id)
            .where(branches.c.run_id.in_(run_ids[first : first + _CHUNK]))
            .order_by(branches.c.position)
        )
        for row in connection.execute(query):
            current.setdefault(row.run_id, []).append(segment_rows.record(row._mapping))
    return current


def segments_of(connection: Connection, run_ids: Sequence[str]) -> list[SegmentSummary]:
    """Return every segment of the runs, by branch and position."""
    query = (
        select(
            segments,
            branches.c.name.label("branch"),
            branches.c.segment_id.label("current"),
            nodes.c.segment_id.label("start_segment"),
            nodes.c.step.label("start_step"),
        )
        .join(branches, branches.c.id == segments.c.branch_id)
        .outerjoin(nodes, nodes.c.id == segments.c.start_node_id)
        .where(segments.c.run_id.in_(run_ids))
        .order_by(branches.c.position, segments.c.position)
    )
    lines = []
    for row in connection.execute(query):
        values = {column.name: row._mapping[column.name] for column in segments.c}
        start = None if row.start_segment is None else (row.start_segment, row.start_step)
        current = row.current == row.id
        lines.append(SegmentSummary(segment_rows.record(values), row.branch, current, start))
    return lines


def series_extents(
    connection: Connection, segment_ids: Sequence[str], name: str
) -> dict[str, list[Extent]]:
    """Return the course of metric ``name`` in each segment that has it, oldest first."""
    condition = and_(metric_series.c.name == name, metric_series.c.segment_id.in_(segment_ids))
    sealed = (
        select(
            metric_series.c.segment_id,
            metric_series.c.id,
            metric_blocks.c.first_step,
            metric_blocks.c.last_step,
            metric_blocks.c.minimum,
            metric_blocks.c.maximum,
            metric_blocks.c.last,
        )
        .join(metric_blocks, metric_blocks.c.series_id == metric_series.c.id)
        .where(condition)
    )
    tiles = _tiles(condition).subquery()
    tail = select(
        tiles.c.segment_id,
        null(),
        func.min(tiles.c.step),
        func.max(tiles.c.step),
        func.min(tiles.c.value),
        func.max(tiles.c.value),
        func.max(tiles.c.last),
    ).group_by(tiles.c.segment_id, tiles.c.tile)
    by_segment: dict[str, list[Extent]] = {}
    for row in connection.execute(union_all(sealed, tail).order_by("first_step")):
        segment, series, *rest = row
        block = None if series is None else (series, row.first_step)
        by_segment.setdefault(segment, []).append(Extent(block, *rest))
    return by_segment


def points_of(
    connection: Connection, blocks: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Series]:
    """Return the points of some sealed blocks, in one statement."""
    if not blocks:
        return {}
    key = tuple_(metric_blocks.c.series_id, metric_blocks.c.first_step)
    rows = connection.execute(select(metric_blocks).where(key.in_(blocks)))
    return {
        (row.series_id, row.first_step): Series(
            np.frombuffer(row.steps, "<i8"),
            np.frombuffer(row.values, "<f8"),
            np.frombuffer(row.times, "<f8"),
        )
        for row in rows
    }


def _tiles(condition: ColumnElement[bool]) -> Select[Any]:
    series, step = metric_points.c.series_id, metric_points.c.step
    value = metric_points.c.value
    return (
        select(
            metric_series.c.segment_id,
            step,
            value,
            func.ntile(_TILES).over(partition_by=series, order_by=step).label("tile"),
            func.first_value(value).over(partition_by=series, order_by=step.desc()).label("last"),
        )
        .join(metric_points, metric_points.c.series_id == metric_series.c.id)
        .where(condition)
    )


def _summaries() -> Select[Any]:
    counts = [
        select(func.count()).where(table.c.run_id == runs.c.id).scalar_subquery().label(name)
        for table, name in ((branches, "branch_count"), (nodes, "node_count"))
    ]
    return select(runs, *counts, func.count().over().label("total"))


def _summary(row: Row[Any]) -> RunSummary:
    run = Run(**{column.name: row._mapping[column.name] for column in runs.c})
    return RunSummary(run, row.branch_count, row.node_count, row.total)

"""The course of a metric in many segments in few numbers, for small curves in a list of runs.

It only reads, in one statement for any number of segments, and one for the points that are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    null,
    select,
    tuple_,
    union_all,
)

from branchtrack.db.metrics import Series
from branchtrack.db.tables import metric_blocks, metric_points, metric_series

#: Buckets that a series' unsealed tail is cut into; each yields its extremes.
_TILES = 30


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

"""The course of a metric in many segments in few numbers, for small curves in a list of runs.

It only reads, in one statement for any number of segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    and_,
    case,
    cast,
    func,
    null,
    select,
    union_all,
)

from branchtrack.db.metrics import BLOCK, Series
from branchtrack.db.tables import metric_blocks, metric_points, metric_series

#: Sealed blocks of a series of which the points are read, and not only the extremes.
_FEW = 4
_ARRAYS = ("steps", "values", "times")
#: Buckets that a series' unsealed tail is cut into; each yields its extremes.
_TILES = 30


@dataclass(frozen=True)
class Extent:
    """Some points of a series: their extremes, and the newest value (None is NaN).

    ``points`` are those of a sealed block of a series that has few of them.
    """

    first_step: int
    last_step: int
    minimum: float | None
    maximum: float | None
    last: float | None
    is_sealed: bool = False
    points: Series | None = None


def series_extents(
    connection: Connection, segment_ids: Sequence[str], name: str
) -> dict[str, list[Extent]]:
    """Return the course of metric ``name`` in each segment that has it, oldest first."""
    condition = and_(metric_series.c.name == name, metric_series.c.segment_id.in_(segment_ids))
    few = metric_series.c.sealed <= _FEW * BLOCK
    sealed = (
        select(
            metric_series.c.segment_id,
            metric_series.c.id,
            metric_blocks.c.first_step,
            metric_blocks.c.last_step,
            metric_blocks.c.minimum,
            metric_blocks.c.maximum,
            metric_blocks.c.last,
            *(case((few, metric_blocks.c[name])) for name in _ARRAYS),
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
        *(cast(null(), LargeBinary) for _name in _ARRAYS),
    ).group_by(tiles.c.segment_id, tiles.c.tile)
    by_segment: dict[str, list[Extent]] = {}
    for row in connection.execute(union_all(sealed, tail).order_by("first_step")):
        segment, series, first, last, low, high, newest, *arrays = row
        points = None if arrays[0] is None else _series(*arrays)
        extent = Extent(first, last, low, high, newest, series is not None, points)
        by_segment.setdefault(segment, []).append(extent)
    return by_segment


def _series(steps: bytes, values: bytes, times: bytes) -> Series:
    return Series(
        np.frombuffer(steps, "<i8"), np.frombuffer(values, "<f8"), np.frombuffer(times, "<f8")
    )


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

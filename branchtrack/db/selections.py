"""Some metrics of many segments at once, for a chart: what there is, the points, and the new ones.

Only reads. `metrics` holds how series are written; nothing here stitches or thins them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, case, literal, or_, select

from branchtrack.db.metrics import Series
from branchtrack.db.tables import metric_blocks, metric_points, metric_series

_KEY: tuple[Any, ...] = (metric_series.c.segment_id, metric_series.c.name)
_ARRAYS: tuple[Any, ...] = (
    metric_blocks.c["steps"], metric_blocks.c["values"], metric_blocks.c["times"],
)  # fmt: skip
_POINT: tuple[Any, ...] = (metric_points.c.step, metric_points.c.value, metric_points.c.time)


@dataclass(frozen=True)
class Selection:
    """Metrics of some segments: ``names`` of all there are, ``series`` by name and segment.

    ``chosen`` is the metric that was asked for, or else the likeliest loss; None without metrics.
    """

    names: tuple[str, ...]
    chosen: str | None
    series: dict[str, dict[str, Series]]


def select_series(
    connection: Connection, segment_ids: Sequence[str], asked: str | None, also: Sequence[str] = ()
) -> Selection:
    """The names of all metrics and the whole series of a few, in two statements.

    Without ``asked`` that is ``loss``, else the first whose name contains it, else the first.
    """
    mine = metric_series.c.segment_id.in_(segment_ids)
    chosen = literal(asked) if asked else _likeliest(mine)
    wanted = or_(metric_series.c.name == chosen, metric_series.c.name.in_(also))
    blocks = (
        select(*_KEY, *_ARRAYS, chosen.label("chosen"))
        .outerjoin(metric_blocks, and_(metric_blocks.c.series_id == metric_series.c.id, wanted))
        .where(mine)
        .order_by(metric_series.c.id, metric_blocks.c.first_step)
    )
    tails = (
        select(*_KEY, *_POINT)
        .join(metric_points, metric_points.c.series_id == metric_series.c.id)
        .where(mine, wanted)
        .order_by(metric_series.c.id, metric_points.c.step)
    )
    rows = connection.execute(blocks).all()
    parts = _sealed(rows)
    for key, points in _grouped(connection.execute(tails).all()).items():
        parts.setdefault(key, []).append(_unsealed(points))
    series: dict[str, dict[str, Series]] = {}
    for (segment, name), found in parts.items():
        series.setdefault(name, {})[segment] = Series.join(found)
    names = tuple(sorted({row.name for row in rows}))
    return Selection(names, rows[0].chosen if rows else asked, series)


def points_after(connection: Connection, after: Mapping[str, int], name: str) -> dict[str, Series]:
    """The points of ``name`` behind a step of each segment, for one who follows; two statements."""
    if not after:
        return {}
    segment = metric_series.c.segment_id
    sealed, unsealed = (
        or_(*(and_(segment == key, column > step) for key, step in after.items()))
        for column in (metric_blocks.c.last_step, metric_points.c.step)
    )
    blocks = (
        select(*_KEY, *_ARRAYS)
        .join(metric_blocks, metric_blocks.c.series_id == metric_series.c.id)
        .where(metric_series.c.name == name, sealed)
        .order_by(metric_blocks.c.first_step)
    )
    tails = (
        select(*_KEY, *_POINT)
        .join(metric_points, metric_points.c.series_id == metric_series.c.id)
        .where(metric_series.c.name == name, unsealed)
        .order_by(metric_points.c.step)
    )
    parts = _sealed(connection.execute(blocks).all())
    for key, points in _grouped(connection.execute(tails).all()).items():
        parts.setdefault(key, []).append(_unsealed(points))
    return {key[0]: Series.join(found).cut(after[key[0]], None) for key, found in parts.items()}


def _likeliest(mine: ColumnElement[bool]) -> ColumnElement[Any]:
    name = metric_series.c.name
    rank = case((name == "loss", 0), (name.contains("loss"), 1), else_=2)
    return select(name).where(mine).order_by(rank, name).limit(1).scalar_subquery()


def _sealed(rows: Sequence[Any]) -> dict[tuple[str, str], list[Series]]:
    parts: dict[tuple[str, str], list[Series]] = {}
    for row in rows:
        if row.steps is not None:
            block = Series(
                np.frombuffer(row.steps, "<i8"),
                np.frombuffer(row.values, "<f8"),
                np.frombuffer(row.times, "<f8"),
            )
            parts.setdefault((row.segment_id, row.name), []).append(block)
    return parts


def _grouped(rows: Sequence[Any]) -> dict[tuple[str, str], list[Any]]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.segment_id, row.name), []).append(row)
    return groups


def _unsealed(rows: Sequence[Any]) -> Series:
    return Series(
        np.array([row.step for row in rows], np.int64),
        np.array([math.nan if row.value is None else row.value for row in rows], np.float64),
        np.array([row.time for row in rows], np.float64),
    )

"""Some metrics of many segments at once, for a chart: their names, their points, and the new ones.

Only reads. `metrics` holds how series are written; nothing here joins or thins them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    LargeBinary,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from branchtrack.db.metrics import Series
from branchtrack.db.tables import metric_blocks, metric_points, metric_series

#: What the product itself measures; scripts rarely want these first.
OWN = ("stall/", "system/")
#: With more names than this, a list to choose from is useless.
NAMES = 200
#: After every step.
_FAR = 2**63 - 1


@dataclass(frozen=True)
class Metrics:
    """The metrics of some segments: ``names`` likeliest first, at most `NAMES` of ``total``.

    ``chosen`` is the requested metric, or else the likeliest loss; None without metrics of the
    script's own.
    """

    names: tuple[str, ...]
    chosen: str | None
    total: int

    @property
    def key(self) -> str:
        """A key of what a page shows of them, which changes if a name is added."""
        return f"{self.total}.{self.chosen or ''}"


def list_metrics(
    connection: Connection, segment_ids: Sequence[str], metric_name: str | None = None
) -> Metrics:
    """List the metrics of the segments, in one statement; ``metric_name`` comes first if there.

    Without it the chosen one is ``loss``, else the first whose name contains it, else the first
    that is not the product's own.
    """
    rows = connection.execute(ranked_names(segment_ids, metric_name)).all()
    names = tuple(row.name for row in rows)
    return Metrics(names, metric_name or likeliest(names), rows[0].total if rows else 0)


def ranked_names(
    segment_ids: Sequence[str], metric_name: str | None = None, also: Sequence[str] = ()
) -> Select[Any]:
    """Return a query of at most `NAMES` names, the likeliest first, with ``position`` and
    ``total``; ``also`` names metrics that come before those nothing is known of."""
    name = metric_series.c.name
    available = (
        select(name).where(metric_series.c.segment_id.in_(segment_ids)).distinct().subquery()
    )
    rank = case(
        (available.c.name == metric_name, 0),
        (available.c.name == "loss", 1),
        (available.c.name.in_(also), 3),
        (or_(*(available.c.name.startswith(own, autoescape=True) for own in OWN)), 5),
        (available.c.name.contains("loss"), 2),
        else_=4,
    )
    order = (rank, available.c.name)
    position = func.row_number().over(order_by=order).label("position")
    total = func.count().over().label("total")
    return select(available.c.name, position, total).order_by(*order).limit(NAMES)


def likeliest(names: Sequence[str], also: Sequence[str] = ()) -> str | None:
    """Return the metric that people look at first, of ranked names."""
    scripts = [name for name in names if not name.startswith(OWN)]
    others = (name for name in scripts if name not in also or "loss" in name)
    return next(others, scripts[0] if scripts else None)


def read_series(
    connection: Connection,
    segment_ids: Collection[str],
    names: Sequence[str],
    *,
    lows: Mapping[str, int] | None = None,
    highs: Mapping[str, int | None] | None = None,
    timed: bool = True,
) -> dict[str, dict[str, Series]]:
    """Return the series of those names, by name and segment, in one statement.

    Only as much as is needed to show, smoothed, the range between two steps of each segment (from
    ``lows``, up to ``highs``): blocks before and after are not read. Without ``timed`` the times of
    points in blocks are NaN.
    """
    keys = (metric_series.c.segment_id.in_(segment_ids), metric_series.c.name.in_(names))
    limits = {segment: high for segment, high in (highs or {}).items() if high is not None}
    sealed = [metric_blocks.c.first_step <= _last_needed(limits)] if limits else []
    if lows:
        sealed.append(metric_blocks.c.first_step >= _first_needed(lows))
    unsealed = metric_points.c.step <= _last_needed(limits) if limits else None
    series: dict[str, dict[str, Series]] = {}
    read = _read(connection, *keys, sealed=and_(true(), *sealed), unsealed=unsealed, timed=timed)
    for (segment, name), points in read.items():
        series.setdefault(name, {})[segment] = points
    return series


def points_after(connection: Connection, after: Mapping[str, int], name: str) -> dict[str, Series]:
    """Return the points of ``name`` after a step of each segment, for live updates."""
    named = all_points_after(connection, after, metric_series.c.name == name)
    return {key[0]: points for key, points in named.items()}


def points_of_each_after(
    connection: Connection, after: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], Series]:
    """Return the points after a step of each series, which (segment, name) names."""
    if not after:
        return {}
    key = (metric_series.c.segment_id, metric_series.c.name)
    sealed, unsealed = (
        or_(
            *(
                and_(key[0] == segment, key[1] == name, column > step)
                for (segment, name), step in after.items()
            )
        )
        for column in (metric_blocks.c.last_step, metric_points.c.step)
    )
    series = _read(connection, sealed=sealed, unsealed=unsealed)
    return {name: points.cut(after[name], None) for name, points in series.items()}


def all_points_after(
    connection: Connection, after: Mapping[str, int], *which: ColumnElement[bool]
) -> dict[tuple[str, str], Series]:
    """Return the points of every metric after a step of each segment, by (segment, name)."""
    if not after:
        return {}
    segment = metric_series.c.segment_id
    sealed, unsealed = (
        or_(*(and_(segment == key, column > step) for key, step in after.items()))
        for column in (metric_blocks.c.last_step, metric_points.c.step)
    )
    series = _read(connection, *which, sealed=sealed, unsealed=unsealed)
    return {key: points.cut(after[key[0]], None) for key, points in series.items()}


def _read(
    connection: Connection,
    *which: ColumnElement[bool],
    sealed: ColumnElement[bool] | None = None,
    unsealed: ColumnElement[bool] | None = None,
    timed: bool = True,
) -> dict[tuple[str, str], Series]:
    """Return points of some series by (segment, name), of blocks and tails in one statement."""
    no_bytes = cast(null(), LargeBinary)
    key = (metric_series.c.segment_id, metric_series.c.name)
    blocks = (
        select(
            *key,
            metric_blocks.c.first_step.label("step"),
            metric_blocks.c["steps"],
            metric_blocks.c["values"],
            metric_blocks.c["times"] if timed else no_bytes.label("times"),
            cast(null(), Double).label("value"),
            cast(null(), Double).label("time"),
        )
        .join(metric_blocks, metric_blocks.c.series_id == metric_series.c.id)
        .where(*which, true() if sealed is None else sealed)
    )
    tails = (
        select(
            *key,
            metric_points.c.step,
            no_bytes,
            no_bytes,
            no_bytes,
            metric_points.c.value,
            metric_points.c.time,
        )
        .join(metric_points, metric_points.c.series_id == metric_series.c.id)
        .where(*which, true() if unsealed is None else unsealed)
    )
    # Sorted here: a database would move the bytes of all blocks to sort them.
    parts: dict[tuple[str, str], list[Series]] = {}
    points: dict[tuple[str, str], list[tuple[int, float | None, float]]] = {}
    for segment, name, step, *block, value, time in connection.execute(
        union_all(blocks, tails)
    ).all():
        if block[0] is None:
            points.setdefault((segment, name), []).append((step, value, time))
        else:
            parts.setdefault((segment, name), []).append(_block(*block))
    for pieces in parts.values():
        pieces.sort(key=lambda piece: int(piece.steps[0]))
    for owner, rows in points.items():
        # Last: if a step was logged a second time, its new value is in the tail.
        parts.setdefault(owner, []).append(_tail(rows))
    return {owner: Series.join(pieces) for owner, pieces in parts.items()}


def _last_needed(highs: Mapping[str, int]) -> ColumnElement[int]:
    """Return the step up to which a segment's points are needed; without one, all are."""
    steps = {segment: literal(high, BigInteger) for segment, high in highs.items()}
    return case(steps, value=metric_series.c.segment_id, else_=literal(_FAR, BigInteger))


def _first_needed(lows: Mapping[str, int]) -> ColumnElement[int]:
    """Return the start of the blocks from which the values up to each low are smoothed."""
    earlier = metric_blocks.alias("earlier")
    low = case(lows, value=metric_series.c.segment_id, else_=0)
    query = (
        select(earlier.c.first_step)
        .where(earlier.c.series_id == metric_blocks.c.series_id, earlier.c.first_step <= low)
        .order_by(earlier.c.first_step.desc())
        .limit(1)
        # The block of the low itself, and two before it: more than any average reaches back.
        .offset(2)
    )
    return func.coalesce(query.scalar_subquery(), -1)


def _block(steps: bytes, values: bytes, times: bytes | None) -> Series:
    points = np.frombuffer(steps, "<i8"), np.frombuffer(values, "<f8")
    timed = np.full(points[0].size, np.nan) if times is None else np.frombuffer(times, "<f8")
    return Series(*points, timed)


def _tail(rows: Sequence[tuple[int, float | None, float]]) -> Series:
    steps, values, times = zip(*rows, strict=True)
    # A value that is not a number is stored as NULL, and becomes NaN again here.
    return Series(np.array(steps, np.int64), np.array(values, np.float64), np.array(times))

"""Extremes and newest value of each series, kept up to date as its points are written.

Neither NaN nor infinity is ever an extreme, and a newest value that is not a number is NULL. A step
that is logged again can only widen the extremes: what it had before is not looked for. `rebuild`
makes summaries anew from points and blocks, so that they hold what these hold.

Summaries and blocks of earlier versions may have infinite extremes. Readers take these for unknown.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
)

from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.engine import upsert
from branchtrack.db.tables import metric_blocks, metric_points, metric_series, segments

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
_COLUMNS = tuple("series_id run_id segment_id name minimum maximum last_step last".split())
#: A statement as text: to make one takes longer than to execute it.
_TEXTS: dict[str, str] = {}
#: The same before it is text, by the name of the dialect.
_WIDENING: dict[str, Any] = {}


def run_of(connection: Connection, segment_id: str) -> str:
    """Return the id of the run that a segment belongs to."""
    query = select(segments.c.run_id).where(segments.c.id == segment_id)
    return str(connection.execute(query).scalar_one())


def extend(
    connection: Connection,
    run_id: str,
    segment_id: str,
    names: Mapping[str, int],
    points: Iterable[Mapping[str, Any]],
) -> None:
    """Take new points of a segment into account, given as rows of `metric_points`.

    ``names`` has the ids of the segment's series by name.
    """
    by_series: dict[int, list[Any]] = {}
    for point in points:
        series, step, value = point["series_id"], point["step"], point["value"]
        row = by_series.get(series)
        if row is None:
            extreme = finite_or_none(value)
            by_series[series] = [extreme, extreme, step, value]
            continue
        if value is not None and math.isfinite(value):
            least, most = row[0], row[1]
            if least is None or value < least:
                row[0] = value
            if most is None or value > most:
                row[1] = value
        if step >= row[2]:
            row[2], row[3] = step, value
    rows = [
        (series, run_id, segment_id, name, *by_series[series])
        for name, series in names.items()
        if series in by_series
    ]
    if connection.dialect.name == "sqlite":
        # Most of the time would go into the translation of names to places.
        connection.exec_driver_sql(_widening_text(connection), rows)
    else:
        connection.execute(
            _widening(connection), [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        )


def finite(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the expression of a value that is NULL where it is infinite or no number."""
    return case((value.between(-sys.float_info.max, sys.float_info.max), value))


def finite_or_none(value: float | None) -> float | None:
    """Return a value of a row, or None where it is infinite or no number."""
    return value if value is not None and math.isfinite(value) else None


def remove(connection: Connection, series_ids: Collection[int]) -> None:
    """Remove the summaries of series that are removed."""
    ordered = sorted(series_ids)
    for first in range(0, len(ordered), _CHUNK):
        chunk = ordered[first : first + _CHUNK]
        connection.execute(metric_summaries.delete().where(metric_summaries.c.series_id.in_(chunk)))


def rebuild(connection: Connection, run_id: str | None = None) -> None:
    """Make the summaries of a run anew, or of all runs, from their points and blocks."""
    doomed = metric_summaries.delete()
    if run_id is not None:
        doomed = doomed.where(metric_summaries.c.run_id == run_id)
    connection.execute(doomed)
    of_run = segments.c.run_id == run_id if run_id is not None else literal(True)
    extremes = _extremes(select(metric_series.c.id).join(segments).where(of_run))
    in_tail = and_(
        metric_points.c.series_id == extremes.c.series_id, metric_points.c.step == extremes.c.step
    )
    in_block = and_(
        metric_blocks.c.series_id == extremes.c.series_id,
        metric_blocks.c.last_step == extremes.c.step,
    )
    query = (
        select(
            extremes.c.series_id,
            segments.c.run_id,
            metric_series.c.segment_id,
            metric_series.c.name,
            extremes.c.low,
            extremes.c.high,
            extremes.c.step,
            # A point of the tail counts for more than a block, also if it is not a number.
            case(
                (metric_points.c.series_id.is_not(None), metric_points.c.value),
                else_=metric_blocks.c.last,
            ),
        )
        .join(metric_series, metric_series.c.id == extremes.c.series_id)
        .join(segments, segments.c.id == metric_series.c.segment_id)
        .outerjoin(metric_points, in_tail)
        .outerjoin(metric_blocks, in_block)
    )
    connection.execute(insert(metric_summaries).from_select(_COLUMNS, query))


def _extremes(of_series: Select[Any]) -> Subquery:
    """Return the lowest and highest value and the newest step of series, of blocks and points."""
    pieces = union_all(
        select(
            metric_blocks.c.series_id,
            finite(metric_blocks.c.minimum).label("low"),
            finite(metric_blocks.c.maximum).label("high"),
            metric_blocks.c.last_step.label("step"),
        ).where(metric_blocks.c.series_id.in_(of_series)),
        select(
            metric_points.c.series_id,
            finite(metric_points.c.value),
            finite(metric_points.c.value),
            metric_points.c.step,
        ).where(metric_points.c.series_id.in_(of_series)),
    ).subquery()
    return (
        select(
            pieces.c.series_id,
            func.min(pieces.c.low).label("low"),
            func.max(pieces.c.high).label("high"),
            func.max(pieces.c.step).label("step"),
        )
        .group_by(pieces.c.series_id)
        .subquery()
    )


def _widening_text(connection: Connection) -> str:
    """Return the statement that adds summaries, or widens those that there are, for SQLite."""
    if "sqlite" not in _TEXTS:
        statement = _widening(connection).compile(dialect=connection.dialect)
        assert tuple(statement.positiontup) == _COLUMNS
        _TEXTS["sqlite"] = str(statement)
    return _TEXTS["sqlite"]


def _widening(connection: Connection) -> Any:
    """Return the statement; a training executes it five times a second."""
    name = connection.dialect.name
    if name not in _WIDENING:
        _WIDENING[name] = _widening_of(upsert(connection, metric_summaries))
    return _WIDENING[name]


def _widening_of(statement: Any) -> Any:
    new, old = statement.excluded, metric_summaries.c
    lower = or_(old.minimum.is_(None), new.minimum < old.minimum)
    higher = or_(old.maximum.is_(None), new.maximum > old.maximum)
    is_newest = new.last_step >= old.last_step
    return statement.on_conflict_do_update(
        index_elements=["series_id"],
        set_={
            "minimum": case((lower, new.minimum), else_=old.minimum),
            "maximum": case((higher, new.maximum), else_=old.maximum),
            "last_step": case((is_newest, new.last_step), else_=old.last_step),
            "last": case((is_newest, new.last), else_=old.last),
        },
    )

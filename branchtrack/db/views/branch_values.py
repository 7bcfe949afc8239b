"""Values of metrics over all points that a branch has trained, without what it inherited.

Only reads: three statements for a metric, however many branches there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from sqlalchemy import Connection, and_, func, select

from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.queries.terms import Curve
from branchtrack.db.browsing.summaries import finite
from branchtrack.db.tables import metric_blocks, metric_points, metric_series, segments


def of_branches(connection: Connection, curves: Collection[Curve]) -> dict[str, dict[Curve, float]]:
    """Return the values of curves by branch; a branch without that metric has none."""
    values: dict[str, dict[Curve, float]] = {}
    for metric in sorted({curve.metric for curve in curves}):
        functions = {curve.function for curve in curves if curve.metric == metric}
        extremes = _extremes(connection, metric) if functions - {"last"} else {}
        for branch_id, (low, high) in extremes.items():
            best, worst = (high, low) if is_higher_better(metric) else (low, high)
            known = {"min": low, "max": high, "best": best, "worst": worst}
            of_branch = values.setdefault(branch_id, {})
            of_branch |= {Curve(name, metric): value for name, value in known.items()}
        for branch_id, value in _last(connection, metric).items() if "last" in functions else ():
            values.setdefault(branch_id, {})[Curve("last", metric)] = value
    return values


def _extremes(connection: Connection, metric: str) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest finite value of a metric in each branch that has one."""
    extremes: dict[str, tuple[float, float]] = {}
    for table, low, high in (
        (metric_blocks, metric_blocks.c.minimum, metric_blocks.c.maximum),
        (metric_points, metric_points.c.value, metric_points.c.value),
    ):
        query = (
            select(segments.c.branch_id, func.min(finite(low)), func.max(finite(high)))
            .join(metric_series, metric_series.c.segment_id == segments.c.id)
            .join(table, table.c.series_id == metric_series.c.id)
            .where(metric_series.c.name == metric)
            .group_by(segments.c.branch_id)
        )
        for branch_id, least, most in connection.execute(query):
            before = extremes.get(branch_id, (math.inf, -math.inf))
            lowest = before[0] if least is None else min(before[0], least)
            highest = before[1] if most is None else max(before[1], most)
            extremes[branch_id] = (lowest, highest)
    return {
        branch_id: pair for branch_id, pair in extremes.items() if all(map(math.isfinite, pair))
    }


def _last(connection: Connection, metric: str) -> dict[str, float]:
    """Return the newest value of a metric in each branch; one that is not a number is NaN."""
    newest: dict[str, tuple[int, int]] = {}
    values: dict[str, float] = {}
    for table, step, value in (
        (metric_blocks, metric_blocks.c.last_step, metric_blocks.c.last),
        (metric_points, metric_points.c.step, metric_points.c.value),
    ):
        latest = (
            select(table.c.series_id, func.max(step).label("step"))
            .join(metric_series, metric_series.c.id == table.c.series_id)
            .where(metric_series.c.name == metric)
            .group_by(table.c.series_id)
            .subquery()
        )
        query = (
            select(segments.c.branch_id, segments.c.position, step.label("step"), value)
            .join(metric_series, metric_series.c.segment_id == segments.c.id)
            .join(latest, latest.c.series_id == metric_series.c.id)
            .join(table, and_(table.c.series_id == latest.c.series_id, step == latest.c.step))
        )
        for branch_id, position, at_step, number in connection.execute(query):
            if (position, at_step) >= newest.get(branch_id, (-1, -1)):
                newest[branch_id] = (position, at_step)
                values[branch_id] = math.nan if number is None else number
    return values

"""The metrics of a run at a glance: their names, and the values of a few in each segment.

Only reads, in one statement, however many points there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, or_, select

from branchtrack.core.queries.directions import is_higher_better
from branchtrack.db.browsing.summaries import finite_or_none
from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.views import chart_series
from branchtrack.db.views.chart_series import Metrics


@dataclass(frozen=True)
class Values:
    """A metric in a segment: its extremes (None without a number), its newest step and value."""

    low: float | None
    high: float | None
    last_step: int
    last: float

    def best(self, metric: str) -> float | None:
        """Return the better extreme."""
        return self.high if is_higher_better(metric) else self.low


@dataclass(frozen=True)
class Overview:
    """The names of metrics, and values by metric and segment."""

    metrics: Metrics
    values: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)

    def has(self, metric: str) -> bool:
        """Return whether there are points of a metric."""
        return metric in self.metrics.names

    def last(self, metric: str) -> dict[str, tuple[int, float]]:
        """Return the newest (step, value) of a metric by segment."""
        of_metric = self.values.get(metric, {})
        return {segment: (each.last_step, each.last) for segment, each in of_metric.items()}

    def best(self, metric: str, segment_ids: Iterable[str]) -> float | None:
        """Return the best value of a metric in some segments."""
        of_metric = self.values.get(metric, {})
        every = (of_metric[key].best(metric) for key in segment_ids if key in of_metric)
        known = [value for value in every if value is not None]
        choose = max if is_higher_better(metric) else min
        return choose(known, default=None)


def read(
    connection: Connection,
    run_id: str,
    segment_ids: Sequence[str],
    first: str | None = None,
    also: Sequence[str] = (),
    valued: Sequence[str] = (),
) -> Overview:
    """Return the names as `chart_series.list_metrics` does, and the values of some metrics.

    These are ``valued``, and the one that is named first.
    """
    ranked = chart_series.ranked_names(segment_ids, first, also).subquery()
    summary = metric_summaries.c
    is_valued = or_(ranked.c.name.in_(valued), ranked.c.position == 1)
    query = (
        select(
            ranked.c.name,
            ranked.c.total,
            summary.segment_id,
            *(summary.minimum, summary.maximum, summary.last_step, summary.last),
        )
        .outerjoin_from(
            ranked,
            metric_summaries,
            and_(
                summary.name == ranked.c.name,
                summary.run_id == run_id,
                summary.segment_id.in_(segment_ids),
                is_valued,
            ),
        )
        .order_by(ranked.c.position)
    )
    values: dict[str, dict[str, Values]] = {}
    rows = connection.execute(query).all()
    for name, _, segment, low, high, step, last in rows:
        if segment is not None:
            newest = math.nan if last is None else last
            extremes = finite_or_none(low), finite_or_none(high)
            values.setdefault(name, {})[segment] = Values(*extremes, step, newest)
    names = tuple(dict.fromkeys(row.name for row in rows))
    chosen = first or chart_series.likeliest(names, also)
    return Overview(Metrics(names, chosen, rows[0].total if rows else 0), values)

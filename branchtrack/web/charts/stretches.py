"""Curves in stretches of the axis: of many points on few pixels, their extremes and the last one.

Stretches of all curves of a chart begin at the same steps, so that the curves share their
positions. It knows no axis and draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from branchtrack.db.metrics import Series

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretches:
    """Stretches of a curve: int64 ``steps`` at which they end, float64 ``low``, ``high``, ``last``.

    The values are NaN where no point of a stretch is finite.
    """

    steps: NDArray[np.int64]
    low: Floats
    high: Floats
    last: Floats

    @property
    def is_thinned(self) -> bool:
        """Return whether a stretch stands for several values."""
        return not bool(np.all((self.low == self.high) | np.isnan(self.low)))


def of_series(series: Series, count: int, span: tuple[int, int] | None = None) -> Stretches:
    """Return a series in about ``count`` stretches of the steps in ``span``, or of its own.

    A series of at most ``count`` points has a stretch for each, but one for each run of values
    that are not finite.
    """
    values = np.where(np.isfinite(series.values), series.values, np.nan)
    if series.steps.size <= count:
        kept = ~(np.isnan(values) & np.concatenate(([False], np.isnan(values[:-1]))))
        values = values[kept]
        return Stretches(series.steps[kept], values, values, values)
    low, high = span or (int(series.steps[0]), int(series.steps[-1]))
    # The first point begins a branch where its parent was: it is never in a stretch with others.
    place = (series.steps - low) * count // max(1, high - low + 1)
    begins = np.union1d([0, 1], np.flatnonzero(np.diff(place)) + 1)
    ends = np.append(begins[1:], values.size) - 1
    return Stretches(
        series.steps[ends],
        np.fmin.reduceat(values, begins),
        np.fmax.reduceat(values, begins),
        _last_finite(values, begins, ends),
    )


def _last_finite(values: Floats, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> Floats:
    """Return the last finite value of each stretch."""
    places = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(values.size)))
    newest = places[ends]
    return np.where(newest >= begins, values[np.maximum(newest, 0)], np.nan)

"""Many curves as one: their mean, between the lowest and the highest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from branchtrack.core.formats import setting
from branchtrack.db.browsing.buckets import Buckets

#: Stretches of a long band.
_STRETCHES = 600


def band(curves: Sequence[Buckets]) -> Buckets:
    """Return the mean of curves at their steps, or of stretches of these, with their extremes.

    A curve that has no point in a stretch has no part in it.
    """
    curves = [curve for curve in curves if curve.steps.size]
    if not curves:
        return Buckets.empty()
    first = min(int(curve.first[0]) for curve in curves)
    last = max(int(curve.steps[-1]) for curve in curves)
    count = min(_STRETCHES, last - first + 1)
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    sums, numbers = np.zeros(count), np.zeros(count)
    steps, times = np.full(count, -1), np.zeros(count)
    for curve in curves:
        places = (curve.steps - first) * count // (last - first + 1)
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        part, at = curve.reduced(starts), places[starts]
        low[at], high[at] = np.fmin(low[at], part.low), np.fmax(high[at], part.high)
        known = np.isfinite(part.last)
        sums[at[known]] += part.last[known]
        numbers[at[known]] += 1
        steps[at] = np.maximum(steps[at], part.steps)
        times[at] = np.maximum(times[at], part.times)
    filled = np.flatnonzero(steps >= 0)
    means = np.full(count, np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    points = Buckets.of_points(steps[filled], means[filled], times[filled])
    return replace(points, low=low[filled], high=high[filled])


def span_of(values: Sequence[Any]) -> str:
    """Return the range of numbers in words, or how many values there are of another kind."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) == len(values) and not any(isinstance(value, bool) for value in values):
        return f"{setting(min(numbers))} to {setting(max(numbers))}"
    return f"{len({str(value) for value in values})} values"

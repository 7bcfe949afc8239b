"""Downsampling for a screen that keeps the minimum and maximum of every bucket.

MinMax (tsdownsample) over the finite points; a run of NaN or infinite values becomes one point,
its first, so that a line drawn through the result has a gap there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxDownsampler

from branchtrack.db.metrics import Series

#: Rows of windows that are averaged at once; more would only use more memory.
_AT_ONCE = 256
_MINMAX = MinMaxDownsampler()


def downsample(series: Series, points: int) -> Series:
    """Return at most about ``points`` finite points of ``series``, and the first of each gap.

    The first and last points and the extremes of every bucket are among them.
    """
    finite = np.isfinite(series.values)
    places = np.flatnonzero(finite)
    limit = max(4, points - points % 2)
    if places.size > limit:
        steps = np.ascontiguousarray(series.steps[places], dtype=np.int64)
        values = np.ascontiguousarray(series.values[places], dtype=np.float64)
        extremes = _MINMAX.downsample(steps, values, n_out=limit).astype(np.int64)
        places = places[np.union1d(extremes, (0, places.size - 1))]
    picked = np.union1d(places, _gap_starts(finite)).astype(np.int64)
    return Series(series.steps[picked], series.values[picked], series.times[picked])


def gaps(series: Series) -> list[int]:
    """Return the steps at which the value is NaN or infinite, which charts mark."""
    return [int(step) for step in series.steps[~np.isfinite(series.values)]]


def smooth_at(series: Series, weight: float, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the exponential moving average at some of the series' steps, ignoring gaps.

    ``weight`` is in [0, 1). The average is debiased as in Adam (Kingma and Ba, 2015), so that the
    first values are not drawn towards zero, and cut where the rest weighs less than a millionth.
    """
    finite = np.isfinite(series.values)
    values = series.values[finite]
    places = np.searchsorted(series.steps[finite], steps)
    here = finite[np.searchsorted(series.steps, steps)] if steps.size else np.zeros(0, bool)
    result = np.full(steps.size, np.nan)
    if not 0.0 < weight < 1.0:
        result[here] = values[places[here]]
        return result
    reach = min(max(values.size, 1), int(np.ceil(np.log(1e-6) / np.log(weight))))
    decay = weight ** np.arange(reach)
    rows = np.flatnonzero(here)
    for start in range(0, rows.size, _AT_ONCE):
        chunk = rows[start : start + _AT_ONCE]
        back = places[chunk][:, None] - np.arange(reach)
        weights = np.where(back >= 0, decay, 0.0)
        windows = values[np.maximum(back, 0)]
        result[chunk] = (windows * weights).sum(axis=1) / weights.sum(axis=1)
    return result


def _gap_starts(
    finite: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    before = np.concatenate(([True], finite[:-1]))
    return np.flatnonzero(~finite & before)

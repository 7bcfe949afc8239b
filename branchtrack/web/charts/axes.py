"""Horizontal axes of charts: steps, epochs, hours, steps since a fork, or a metric that counts.

Pure values. A step that an axis does not cover has no place on it, which is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.metrics import Series

#: The axes that every chart has, as an address names them, and how pages call them. Any other name
#: is that of a metric.
AXES = {"step": "step", "epoch": "epoch", "time": "hours trained", "since": "since fork"}
#: Words in the names of metrics that count something.
_COUNTERS = ("token", "sample", "example", "flos")
#: Counters that a page offers; any other can be in an address.
_OFFERED = 3

ToX = Callable[[NDArray[np.int64]], NDArray[np.float64]]


def counter(axis: str) -> str | None:
    """Return the metric that is an axis, if it is one."""
    return None if axis in AXES else axis


def counters(names: Sequence[str]) -> list[str]:
    """Return the metrics that count something, and no rates of them."""
    return [
        name
        for name in names
        if any(word in name.lower() for word in _COUNTERS) and "per_second" not in name.lower()
    ]


def choices(names: Sequence[str], axis: str) -> list[tuple[str, str]]:
    """Return the axes to choose from, with their words: ``axis`` and some counters among them."""
    offered = [*counters(names)[:_OFFERED], *filter(None, [counter(axis)])]
    return [*AXES.items(), *((name, name) for name in dict.fromkeys(offered))]


def to_steps(step_array: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the axis of steps."""
    return step_array.astype(np.float64)


def since(start: int) -> ToX:
    """Return the axis of steps since ``start``."""
    return lambda step_array: step_array.astype(np.float64) - start


def along(by_step: Mapping[int, float]) -> ToX:
    """Return the axis of a quantity known at some steps (epochs), linear between and beyond."""
    places = sorted(by_step)
    return interpolated(
        np.array(places, np.float64), np.array([by_step[step] for step in places], np.float64)
    )


def hours(points: Series | Buckets) -> ToX:
    """Return the axis of hours spent training, without waits between a node and its resume."""
    steps, times = points.steps, points.times
    if steps.size < 2:
        return interpolated(np.zeros(1), np.zeros(1))
    # Of a step: stretches differ in length.
    taken, count = np.diff(times), np.diff(steps)
    usual = float(np.median(taken / count))
    taken = np.where((taken < 0) | (taken > 50 * count * max(usual, 1e-3)), usual * count, taken)
    spent = np.concatenate(([0.0], np.cumsum(taken))) / 3600.0
    return interpolated(steps.astype(np.float64), spent)


def counted(curve: Buckets) -> ToX:
    """Return the axis of a metric that counts something, such as tokens.

    It covers the steps from the metric's first number to its last, linear between two of them:
    what it was before and after is not known.
    """
    # Buckets end at their last points; where the first one begins is known, too.
    all_steps = np.concatenate((curve.first, curve.steps))
    values = np.concatenate((curve.first_value, curve.last))
    is_number = np.isfinite(values)
    places, chosen = np.unique(all_steps[is_number], return_index=True)

    def to_x(step_array: NDArray[np.int64]) -> NDArray[np.float64]:
        if not places.size:
            return np.full(step_array.size, np.nan)
        numbers = values[is_number][chosen]
        return np.interp(step_array, places, numbers, left=np.nan, right=np.nan)

    return to_x


def position(axes_of_lines: Sequence[ToX], step: int | None) -> float | None:
    """Return where a step is on the first axis that covers it; None if none does."""
    for to_x in axes_of_lines if step is not None else ():
        x = float(to_x(np.array([step]))[0])
        if np.isfinite(x):
            return x
    return None


def interpolated(places: NDArray[np.float64], values: NDArray[np.float64]) -> ToX:
    """Return the axis of a quantity known at some steps, linear between and beyond them."""

    def to_x(step_array: NDArray[np.int64]) -> NDArray[np.float64]:
        if places.size < 2:
            return np.full(step_array.size, values[0] if values.size else 0.0)
        slope = (values[-1] - values[0]) / (places[-1] - places[0])
        beyond = np.maximum(step_array - places[-1], 0) * slope
        both: NDArray[np.float64] = np.interp(step_array, places, values) + beyond
        return both

    return to_x

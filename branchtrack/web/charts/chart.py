"""The contents of a chart, as plain values: thinned curves, marks, ranges, and a label.

They are made from whole series: smoothing is computed on all points, and thinning comes last. It
draws nothing; `charts.plots` and `static/js/chart.js` both draw these values.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branchtrack.core.formats import metric, steps
from branchtrack.db.browsing.buckets import Buckets, Gaps
from branchtrack.db.metrics import Series
from branchtrack.web.charts.axes import ToX
from branchtrack.web.svg.marks import TRUNK, colour_and_dash

SMOOTHING = (0.0, 0.6, 0.9, 0.99)
_MOST_GAPS = 40
#: Names in a note.
_MOST_NAMES = 4
_NOTHING = 1e-6
#: Whether a value is of this size or not, a rounded one stays finite.
_HUGE = 1e300
_MAXIMUM = sys.float_info.max
#: Half of the smallest range of an axis: differences of smaller numbers cannot be divided by.
_LEAST_ROOM = 1e-290
#: Differences of numbers that are first multiplied by this are finite.
QUARTER = 0.25
#: Pixels below the lowest point, with and without the labels of the horizontal axis.
FOOT, BARE_FOOT = 30, 8
#: The stylesheet's dashes, for a canvas.
_DASHES = ((), (6, 4), (2, 3), (8, 3, 2, 3))


@dataclass(frozen=True)
class Line:
    """A curve in stretches that end at ``xs``; values are None where none is finite.

    ``low`` and ``high`` are the extremes of each stretch, ``raw`` its last value, and ``smooth``
    the average there. ``norm`` is the weight of all points up to the last one in its average, so
    that the script that continues it corrects the bias as `downsample.smooth_at` does. A line that
    ``is_off_axis`` is empty: the axis covers none of its points.
    """

    name: str
    style: int
    steps: list[int]
    xs: list[float]
    low: list[float | None]
    high: list[float | None]
    raw: list[float | None]
    smooth: list[float | None]
    gaps: list[float] = field(default_factory=list)
    marks: list[tuple[float, float, str]] = field(default_factory=list)
    named: bool = True
    norm: float = 0.0
    is_off_axis: bool = False

    @property
    def is_band(self) -> bool:
        """Return whether a stretch stands for several values."""
        return self.low != self.high

    def as_json(self) -> dict[str, Any]:
        """Return what the page's script needs to draw the line."""
        colour, dash = (0, 0) if self.style == TRUNK else colour_and_dash(self.style)
        extremes = {"low": self.low, "high": self.high} if self.is_band else {"low": self.low}
        return {
            "name": self.name,
            "colour": "--trunk" if self.style == TRUNK else f"--b{colour}",
            "dash": _DASHES[dash],
            "xs": self.xs,
            **extremes,
            **({} if self.smooth == self.low else {"smooth": self.smooth}),
            "gaps": self.gaps,
            "marks": self.marks,
            "named": self.named,
            "norm": self.norm,
        }


@dataclass(frozen=True)
class Chart:
    """Curves with the ranges of both axes; ``fork`` is where two branches part.

    ``origin`` is the step at x = 0 if the axis counts steps; ``guides`` are the marked positions;
    ``foot`` is the room below the curves in pixels; ``note`` says what is not drawn as requested.
    """

    metric: str
    x_name: str
    lines: tuple[Line, ...]
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log: bool
    weight: float
    height: int
    label: str
    fork: float | None = None
    fill: bool = False
    origin: int = 0
    guides: tuple[float, ...] = ()
    foot: int = FOOT
    note: str = ""

    @property
    def smoothed(self) -> bool:
        """Return whether the smooth curve differs from the raw one."""
        return self.weight > 0

    def resized(self, x_low: float, x_high: float, height: int, foot: int) -> Chart:
        """Return the chart with another range of its axis and another size, in pixels."""
        return replace(self, x_low=x_low, x_high=x_high, height=height, foot=foot)

    def share(self, x: float) -> float:
        """Return the position of ``x`` as a share of the axis."""
        return share(x, self.x_low, self.x_high)

    def as_json(self) -> dict[str, Any]:
        """Return what the page's script needs to draw the chart."""
        return {
            "metric": self.metric,
            "x": self.x_name,
            "lines": [line.as_json() for line in self.lines],
            "range": [self.x_low, self.x_high, self.y_low, self.y_high],
            "log": self.log,
            "weight": self.weight,
            "fork": self.fork,
            "fill": self.fill,
            "origin": self.origin,
            "guides": self.guides,
            "foot": self.foot,
            "height": self.height,
            "label": self.label,
            "note": self.note,
        }


def share(value: float, low: float, high: float) -> float:
    """Return where a value is between two others, 0 to 1; also if their difference is infinite."""
    start = low * QUARTER
    return (value * QUARTER - start) / ((high * QUARTER - start) or 1)


def line(
    points: Series | Buckets,
    *,
    name: str,
    style: int,
    weight: float,
    limit: int,
    to_x: ToX,
    after: int = -1,
    upto: int | None = None,
    window: tuple[int | None, int | None] = (None, None),
    changes: Sequence[tuple[int, str]] = (),
    named: bool = True,
    marked_gaps: bool = True,
    span: tuple[int, int] | None = None,
) -> Line:
    """Return the part of a curve with ``after <= step <= upto`` inside ``window`` as a line.

    The last point at or before ``after`` is included, so that a branch begins where its parent was.
    ``changes`` are (step, text) pairs of interventions to mark on the curve. It is drawn in about
    ``limit`` stretches of the steps in ``span``, or of its own. What the axis does not cover is
    left out.
    """
    whole = points if isinstance(points, Buckets) else _of_points(points)
    low, high = window
    joined = int(np.searchsorted(whole.steps, after, side="right")) - 1
    begin = int(whole.steps[joined]) - 1 if joined >= 0 else -1
    begin = max(begin, -1 if low is None else low - 1)
    ends = [end for end in (upto, high) if end is not None]
    section = whole.cut(begin, min(ends) if ends else None)
    thin = section.reduced(_stretches(section.steps, limit, span))
    covered = np.isfinite(to_x(thin.steps))
    is_own = thin.steps > after
    # The point where its parent was is no part of a branch by itself.
    is_off_axis = bool(is_own.any()) and not bool(covered[is_own].any())
    thin = thin.where(covered & (not is_off_axis))
    smooth = whole.smooth(weight)[np.searchsorted(whole.steps, thin.steps)]
    broken = _gap_middles(section.gaps)[:_MOST_GAPS] if marked_gaps else []
    lows = _numbers(thin.low)
    return Line(
        name=name,
        style=style,
        steps=thin.steps.tolist(),
        xs=_floats(to_x(thin.steps)),
        low=lows,
        high=lows if np.array_equal(thin.low, thin.high, equal_nan=True) else _numbers(thin.high),
        raw=_numbers(thin.last),
        smooth=_numbers(smooth),
        gaps=_floats(_finite(to_x(np.array(broken, np.int64)))),
        marks=_placed(
            [change for change in changes if begin < change[0]], thin.steps, smooth, to_x
        ),
        named=named,
        norm=_norm(whole, weight, thin.steps),
        is_off_axis=is_off_axis,
    )


def on_axis(lines: Sequence[Line], axis: str) -> tuple[list[Line], str]:
    """Return the lines that have points on the axis, and a note that names those that are off."""
    names = list(dict.fromkeys(curve.name for curve in lines if curve.is_off_axis))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    note = f"Not drawn, without {axis}: {', '.join(names[:_MOST_NAMES])}{more}" if names else ""
    return [curve for curve in lines if curve.xs], note


def chart(
    lines: Sequence[Line],
    *,
    metric_name: str,
    x_name: str,
    log: bool,
    weight: float,
    x_range: tuple[float, float] | None = None,
    height: int = 280,
    label: str = "",
    fork: float | None = None,
    fill: bool = False,
    origin: int = 0,
    guides: Sequence[float] = (),
    foot: int = FOOT,
    note: str = "",
) -> Chart:
    """Return a chart whose ranges hold every finite point of its lines.

    Without a value above 0 it is not logarithmic. Its note is ``note`` and what it says itself.
    """
    if log:
        lines, log, of_scale = _on_log_scale(lines)
        note = "; ".join(filter(None, (note, of_scale)))
    words = label or describe(lines, metric_name)
    xs = [x for curve in lines for x in (curve.xs[:1] + curve.xs[-1:])]
    x_low, x_high = x_range or (min(xs, default=0.0), max(xs, default=1.0))
    y_low, y_high = _y_range(lines, log, fill)
    return Chart(
        metric_name,
        x_name,
        tuple(lines),
        x_low,
        max(x_high, x_low + 1e-9),
        y_low,
        y_high,
        log,
        weight,
        height,
        f"{words}. {note}" if note else words,
        fork,
        fill,
        origin,
        tuple(guides),
        foot,
        note,
    )


def describe(lines: Sequence[Line], metric_name: str) -> str:
    """Describe the chart in a sentence, for screen readers."""
    ends = []
    for curve in lines:
        points = [(s, y) for s, y in zip(curve.steps, curve.raw, strict=True) if y is not None]
        if points and curve.named:
            ends.append(f"{curve.name} {metric(points[-1][1])} at step {steps(points[-1][0])}")
    return f"{metric_name} over training: " + ("; ".join(ends) if ends else "no points yet")


def sampled(lines: Sequence[Line], rows: int = 20) -> list[tuple[int, list[float | None]]]:
    """Return about ``rows`` steps spread over the chart, with each line's value at each."""
    every = sorted({step for curve in lines for step in curve.steps})
    if not every:
        return []
    places = np.unique(np.linspace(0, len(every) - 1, min(rows, len(every))).astype(int))
    chosen = [every[index] for index in places]
    columns = [
        _values_at(np.array(curve.steps), np.array(_nan(curve.raw)), chosen) for curve in lines
    ]
    return [(step, [column[row] for column in columns]) for row, step in enumerate(chosen)]


def _placed(
    changes: Sequence[tuple[int, str]],
    known_steps: NDArray[np.int64],
    values: NDArray[np.float64],
    to_x: ToX,
) -> list[tuple[float, float, str]]:
    """Return the marks of changes as (x, y, text), without those that have no place."""
    places = to_x(np.array([step for step, _ in changes], np.int64))
    heights = _values_at(known_steps, values, [step for step, _ in changes])
    return [
        (_floats(places[index : index + 1])[0], y, text)
        for index, (y, (_, text)) in enumerate(zip(heights, changes, strict=True))
        if y is not None and np.isfinite(places[index])
    ]


def _of_points(series: Series) -> Buckets:
    return Buckets.of_points(series.steps, series.values, series.times)


def _stretches(
    steps: NDArray[np.int64], count: int, span: tuple[int, int] | None
) -> NDArray[np.int64]:
    """Return where the stretches begin in which a curve is drawn.

    Those of all curves of a chart end at the same steps, so that the curves share their positions.
    """
    if steps.size <= count:
        return np.arange(steps.size)
    low, high = span or (int(steps[0]), int(steps[-1]))
    place = (steps - low) * count // max(1, high - low + 1)
    # The first point begins a branch where its parent was: it is never in a stretch with others.
    return np.union1d([0, 1], np.flatnonzero(np.diff(place)) + 1)


def _norm(whole: Buckets, weight: float, drawn: NDArray[np.int64]) -> float:
    upto = int(drawn[-1]) if drawn.size else -1
    return 1.0 - weight ** int(whole.count[whole.steps <= upto].sum())


def _gap_middles(gaps: Gaps) -> list[int]:
    """Return the step in the middle of each run of values that are not finite."""
    firsts = np.flatnonzero(~gaps.follows)
    if gaps.steps.size and (not firsts.size or firsts[0]):
        firsts = np.append(0, firsts)
    ends = np.append(firsts[1:], gaps.steps.size)
    return [
        int(gaps.steps[(first + end - 1) // 2]) for first, end in zip(firsts, ends, strict=False)
    ]


def _on_log_scale(lines: Sequence[Line]) -> tuple[Sequence[Line], bool, str]:
    """Return what a logarithmic scale can show of lines, whether there is any, and what is not."""
    lows = [y for curve in lines for y in curve.low if y is not None]
    if all(y > 0 for y in lows):
        return lines, True, ""
    if not any(y > 0 for curve in lines for y in curve.high if y is not None):
        return lines, False, "No value above 0: linear scale"
    above = [
        replace(
            curve,
            low=_positive(curve.low),
            high=_positive(curve.high),
            smooth=_positive(curve.smooth),
        )
        for curve in lines
    ]
    return above, True, "Log scale: values ≤ 0 are not drawn"


def _positive(values: Sequence[float | None]) -> list[float | None]:
    return [y if y is not None and y > 0 else None for y in values]


def _y_range(lines: Sequence[Line], log: bool, fill: bool) -> tuple[float, float]:
    values = [
        y for curve in lines for y in (*curve.low, *curve.high, *curve.smooth) if y is not None
    ]
    values = [y for y in values if y > 0 or not log]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if fill:
        low, high = min(low, 0.0), max(high, 0.0)
    if log:
        low = low or 1e-3
        return low / 1.15 or low, min(max(high, low * 1.01) * 1.15, _MAXIMUM)
    room = (high * 0.06 - low * 0.06) or abs(high) * 0.1 or 1.0
    room = max(room, _LEAST_ROOM)
    return max(low - room, -_MAXIMUM), min(high + room, _MAXIMUM)


def _values_at(
    known_steps: NDArray[Any], values: NDArray[np.float64], requested_steps: Sequence[int]
) -> list[float | None]:
    """Return the value at or before each wanted step; None outside of what is known."""
    results: list[float | None] = []
    for step in requested_steps:
        index = int(np.searchsorted(known_steps, step, side="right")) - 1
        inside = index >= 0 and step <= known_steps[-1]
        value = float(values[index]) if inside else math.nan
        results.append(value if math.isfinite(value) else None)
    return results


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return values with five digits or more, to keep the page small; None if not finite."""
    finite = np.isfinite(values)
    sizes = np.abs(values[finite])
    if not sizes.size or not sizes.any():
        return [0.0 if is_finite else None for is_finite in finite.tolist()]
    # Of the smallest value, but of none that is next to nothing beside the others. That one keeps
    # its digits: 0 has no place on a logarithmic scale.
    most = float(sizes.max())
    least = max(float(sizes[sizes > 0].min()), most * _NOTHING)
    decimals = 4 - math.floor(math.log10(least)) if most < _HUGE else 0
    if finite.all():
        return [round(y, decimals) or y for y in values.tolist()]
    return [(round(y, decimals) or y) if math.isfinite(y) else None for y in values.tolist()]


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def _floats(values: NDArray[np.float64]) -> list[float]:
    # Whole numbers without ".0" keep the page small: most axes are steps, and there are thousands.
    return [
        int(x) if abs(x) < _HUGE and x == int(x) else float(f"{x:.8g}") for x in values.tolist()
    ]


def _nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]

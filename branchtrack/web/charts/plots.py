"""Curves drawn on the server: sparklines, and the chart that is shown without JavaScript.

Its functions are pure. The chart has the same edges and heights as JavaScript's, which replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from branchtrack.core.formats import axis_label
from branchtrack.web.charts.chart import FOOT, QUARTER, Chart, Line, share
from branchtrack.web.svg.marks import classes, el, log_ticks, mark, percent, ticks

#: Pixels above the highest point, in which the name of the metric stands.
_TOP = 28
#: No float above 0 is smaller.
_LEAST = 5e-324
#: With more curves than this the raw ones are not drawn: they could not be told apart.
_MANY = 16
#: With more curves than this their bands would be one.
_BANDS = 6
#: Names stand in the margin to the right of the curves; the script uses the same sizes.
_NAME_HEIGHT, _NAME_LENGTH = 14.0, 15


def sparkline(values: Sequence[tuple[float, float | None]], style: int = 0) -> Markup:
    """Return a small curve of (x, y); None leaves a gap."""
    points = [(x, y) for x, y in values if y is not None and math.isfinite(y)]
    if len(points) < 2:
        return Markup("")
    low_x, high_x = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    spot = [(100 * share(x, low_x, high_x), 22 - 20 * share(y, low, high)) for x, y in points]
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in spot)
    curve = el("path", d=path, class_=f"curve {classes(style)}")
    return el(
        "svg",
        curve,
        class_="spark",
        viewBox="0 0 100 24",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def y_axis(chart: Chart) -> Markup:
    """Return the labels of the vertical axis, which stand to the left of `plot`."""
    texts = [
        el("text", _tick(value), x="100%", dx=-10, y=_y(chart, value) + 4, text_anchor="end")
        for value in _places(chart)
    ]
    return el("svg", *texts, width="100%", height=chart.height, aria_hidden="true")


def plot(chart: Chart) -> Markup:
    """Return the grid, curves, marks and names of a chart."""
    parts = [_grid(chart)]
    if chart.fork is not None:
        x = percent(chart.share(chart.fork))
        parts.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=_floor(chart), class_="forkline"))
        parts.append(el("text", "fork", x=x, dx=6, y=_TOP + 6))
    for guide in chart.guides:
        if chart.x_low <= guide <= chart.x_high:
            x = percent(chart.share(guide))
            parts.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=_floor(chart), class_="guide"))
    for line in chart.lines:
        parts.append(_curves(chart, line))
    for line in chart.lines:
        parts += _marks(chart, line)
    parts += _names(chart)
    if chart.note:
        parts.append(el("text", chart.note, x=6, y=_floor(chart) - 6))
    return el(
        "svg",
        *parts,
        class_="plot",
        width="100%",
        height=chart.height,
        role="img",
        aria_label=chart.label,
    )


def _floor(chart: Chart) -> int:
    return chart.height - chart.foot


def _heights(chart: Chart, values: Sequence[float | None]) -> list[float | None]:
    """Return `_y` of many values; curves never leave the chart but by a rounding."""
    if chart.log:
        return [None if value is None else _y(chart, value) for value in values]
    floor, start = _floor(chart), chart.y_low * QUARTER
    # `share` for each of many values.
    scale = (floor - _TOP) / ((chart.y_high * QUARTER - start) or 1)
    return [
        None if value is None else floor - (value * QUARTER - start) * scale for value in values
    ]


def _y(chart: Chart, value: float) -> float:
    low, high = chart.y_low, chart.y_high
    if chart.log:
        low, high, value = (math.log10(max(v, _LEAST)) for v in (low, high, value))
    part = max(-0.05, min(1.05, share(value, low, high)))
    return _floor(chart) - part * (_floor(chart) - _TOP)


def _places(chart: Chart) -> list[float]:
    if chart.log:
        return log_ticks(chart.y_low, chart.y_high)
    return ticks(chart.y_low, chart.y_high, max(2, chart.height // 45))


def _grid(chart: Chart) -> Markup:
    parts = []
    for value in _places(chart):
        y = _y(chart, value)
        kind = "grid zero" if value == 0 else "grid"
        parts.append(el("line", x1=0, x2="100%", y1=y, y2=y, class_=kind))
    for nth, value in enumerate(ticks(chart.x_low, chart.x_high, 8)):
        x = percent(chart.share(value))
        parts.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=_floor(chart), class_="grid"))
        if chart.foot < FOOT:
            continue
        text = f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"
        spot = {"x": x, "y": chart.height - 10, "class_": "minor" if nth % 2 else None}
        parts.append(el("text", text, text_anchor="middle", **spot))
    return el("g", *parts)


def _curves(chart: Chart, line: Line) -> Markup:
    """Return the smoothed curve over its band or its faint raw one, stretched to the width."""
    paths = []
    if not chart.fill and len(chart.lines) <= _MANY:
        if line.is_band and len(chart.lines) <= _BANDS:
            paths.append(el("path", d=_band(chart, line), class_="fill"))
        elif not line.is_band and line.smooth != line.low:
            paths.append(el("path", d=_path(chart, line.xs, line.low), class_="raw"))
    paths.append(
        el(
            "path",
            d=_path(chart, line.xs, line.smooth),
            class_="curve edge" if chart.fill else "curve",
        )
    )
    if chart.fill:
        paths.append(el("path", d=_area(chart, line), class_="fill"))
    return el(
        "svg",
        *paths,
        viewBox=f"0 0 1000 {chart.height}",
        preserveAspectRatio="none",
        width="100%",
        height=chart.height,
        class_=classes(line.style),
    )


def _runs(
    chart: Chart, xs: Sequence[float], *columns: Sequence[float | None]
) -> Iterator[list[tuple[float, ...]]]:
    """Yield the pixels (x, y of each column) of every run of positions that have all values."""
    left = chart.x_low * QUARTER
    scale = 1000 / ((chart.x_high * QUARTER - left) or 1)
    places = [(x * QUARTER - left) * scale for x in xs]
    heights = [_heights(chart, values) for values in columns]
    run: list[tuple[float, ...]] = []
    for row in zip(places, *heights, strict=True):
        if None in row:
            if run:
                yield run
            run = []
        else:
            run.append(row)
    if run:
        yield run


def _path(chart: Chart, xs: Sequence[float], values: Sequence[float | None]) -> str:
    return "".join("M" + _joined(run) for run in _runs(chart, xs, values))


def _band(chart: Chart, line: Line) -> str:
    """Return the area between the extremes of a curve."""
    return "".join(
        f"M{_joined([(x, high) for x, _, high in run])}"
        f"L{_joined([(x, low) for x, low, _ in reversed(run)])}Z"
        for run in _runs(chart, line.xs, line.low, line.high)
    )


def _area(chart: Chart, line: Line) -> str:
    """Return the area between a curve and zero."""
    zero = _y(chart, 0.0)
    return "".join(
        f"M{run[0][0]:.0f},{zero:.1f}L{_joined(run)}L{run[-1][0]:.0f},{zero:.1f}Z"
        for run in _runs(chart, line.xs, line.smooth)
    )


def _joined(spots: Sequence[tuple[float, ...]]) -> str:
    return "L".join([f"{x:.0f},{y:.1f}" for x, y in spots])


def _marks(chart: Chart, line: Line) -> list[Markup]:
    style = classes(line.style)
    parts = [
        el("g", mark("change", percent(chart.share(x)), _y(chart, y), title), class_=style)
        for x, y, title in line.marks
        if chart.x_low <= x <= chart.x_high
    ]
    for x in line.gaps:
        if chart.x_low <= x <= chart.x_high:
            cross = el("path", d="M-4,-4L4,4M4,-4L-4,4", class_="gap")
            tip = el("title", f"{line.name}: not a number")
            spot = {"x": percent(chart.share(x)), "y": _TOP + 2}
            parts.append(el("svg", cross, tip, class_=f"mark {style}", **spot))
    for x, y in _lone(line):
        parts.append(el("g", mark("fold", percent(chart.share(x)), _y(chart, y)), class_=style))
    return parts


def _lone(line: Line) -> Iterator[tuple[float, float]]:
    """Yield the points of a curve between gaps, where it would be invisible."""
    values = [None, *line.smooth, None]
    for x, before, value, after in zip(line.xs, values, line.smooth, values[2:], strict=False):
        if value is not None and before is None and after is None:
            yield x, value


def _names(chart: Chart) -> list[Markup]:
    """Return the names of the branches to the right of the curves, at the heights where these end.

    If there is no room for all, those that end furthest to the right are named.
    """
    room = int((_floor(chart) - _TOP) // _NAME_HEIGHT)
    ends = sorted(_ends(chart), key=lambda end: -end[1])
    is_cut = len(ends) > room
    named_ends = sorted(ends[: room - 1] if is_cut else ends, key=lambda end: end[0])
    # The line that says how many more there are stands below the names.
    lowest = float(_floor(chart)) - (_NAME_HEIGHT if is_cut else 0)
    heights = _apart([end[0] for end in named_ends], lowest)
    parts = []
    for y, (_, _, line) in zip(heights, named_ends, strict=True):
        tip = el("title", line.name) if len(line.name) > _NAME_LENGTH else ""
        spot = {"x": "100%", "dx": 8, "y": y + 4, "class_": f"name {classes(line.style)}"}
        parts.append(el("text", _shortened(line.name), tip, **spot))
    if is_cut:
        more = f"+ {len(ends) - len(named_ends)} more"
        spot = {"x": "100%", "dx": 8, "y": _floor(chart) + 4, "class_": "name more-names"}
        parts.append(el("text", more, **spot))
    return parts


def _apart(heights: Sequence[float], lowest: float) -> list[float]:
    """Move ascending heights as little as possible, so that names at them do not overlap."""
    low = [max(_TOP + _NAME_HEIGHT * nth, height) for nth, height in enumerate(heights)]
    for nth in range(1, len(low)):
        low[nth] = max(low[nth], low[nth - 1] + _NAME_HEIGHT)
    last = lowest
    for nth in reversed(range(len(low))):
        low[nth] = last = min(low[nth], last)
        last -= _NAME_HEIGHT
    return low


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


def _ends(chart: Chart) -> Iterator[tuple[float, float, Line]]:
    """Return the height and the share of the width of each named curve's last point."""
    for line in chart.lines:
        points = [(x, y) for x, y in zip(line.xs, line.smooth, strict=True) if y is not None]
        if points and line.named:
            yield _y(chart, points[-1][1]), chart.share(points[-1][0]), line


def _tick(value: float) -> str:
    return axis_label(value)

"""The charts of several lines side by side: their curves, and the difference of each to one.

It decides what is drawn where; it reads nothing and writes no markup.
"""

from __future__ import annotations

from typing import Any

from branchtrack.analysis.comparison.side_by_side import Line as Side
from branchtrack.analysis.comparison.side_by_side import SideBySide
from branchtrack.analysis.courses import difference
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.web.charts import axes, chart
from branchtrack.web.charts.axes import ToX
from branchtrack.web.charts.chart import Chart, Line
from branchtrack.web.svg.marks import TRUNK, distinct
from branchtrack.web.view.tree import change_words

_LIMIT = 300
_SHORT = 160

Window = tuple[int | None, int | None]


def styles(several: SideBySide) -> list[int]:
    """Return the colour and dash of each line: its branch's own, unless another line has it."""
    return distinct([line.branch.position for line in several.lines], by_colour=True)


def build_charts(
    several: SideBySide, axis: str, log: bool, weight: float, window: Window
) -> tuple[Chart, Chart]:
    """Return the curves, and below them the differences to the base on the same axis."""
    metric, fork_step = several.metric, several.fork_step
    curves = [several.curve(line, metric) for line in several.lines]
    by_line = [
        _to_x(several, side, axis, curve) for side, curve in zip(several.lines, curves, strict=True)
    ]
    shared: dict[str, Any] = {"weight": weight, "limit": _LIMIT, "window": window}
    lines, note = chart.on_axis(_lines(several, curves, by_line, shared), axis)
    on_base_first = [by_line[several.base], *by_line]
    common: dict[str, Any] = {
        "x_name": axis,
        "weight": weight,
        "fork": axes.position(on_base_first, fork_step),
        "origin": fork_step or 0 if axis == "since" else 0,
    }
    upper = chart.chart(lines, metric_name=metric, log=log, note=note, **common)
    base = several.lines[several.base]
    gaps = [
        chart.line(
            difference(curves[several.base], curve, fork_step, window),
            name=side.name,
            style=style,
            to_x=to_x,
            marked_gaps=False,
            **shared,
        )
        for side, curve, to_x, style in zip(
            several.lines, curves, by_line, styles(several), strict=True
        )
        if side is not base
    ]
    lower = chart.chart(
        [gap for gap in gaps if gap.xs],
        metric_name=f"{metric} − {base.name}",
        log=False,
        height=_SHORT,
        x_range=(upper.x_low, upper.x_high),
        **common,
    )
    return upper, lower


def _lines(
    several: SideBySide, curves: list[Buckets], by_line: list[ToX], shared: dict[str, Any]
) -> list[Line]:
    """Return the trunk once, then each line from where all part."""
    after = -1 if several.fork_step is None else several.fork_step
    lines = []
    if several.fork_step is not None:
        trunk: dict[str, Any] = {"name": "shared", "style": TRUNK, "upto": after, "named": False}
        lines.append(
            chart.line(curves[several.base], to_x=by_line[several.base], **trunk, **shared)
        )
    changes = several.changes()
    for side, curve, to_x, style in zip(
        several.lines, curves, by_line, styles(several), strict=True
    ):
        marks = [
            (node.step, change_words(node.changes))
            for sides, node in changes
            if not side.members and any(other is side for other in sides)
        ]
        lines.append(
            chart.line(
                curve,
                name=side.name,
                style=style,
                to_x=to_x,
                after=after,
                changes=marks,
                **shared,
            )
        )
    return lines


def _to_x(several: SideBySide, side: Side, axis: str, curve: Buckets) -> ToX:
    if axis == "since":
        return axes.since(several.fork_step or 0)
    if axis == "epoch":
        return axes.along({node.step: node.epoch for node in side.above})
    if axis == "time":
        return axes.hours(curve)
    counter = axes.counter(axis)
    return axes.to_steps if counter is None else axes.counted(several.curve(side, counter))

"""The two charts of a comparison: both curves with their common trunk, and their difference.

It decides what is drawn where; it reads nothing and writes no markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.analysis.courses import difference
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.web.charts import axes, chart
from branchtrack.web.charts.axes import ToX
from branchtrack.web.charts.chart import Chart, Line
from branchtrack.web.svg.marks import TRUNK
from branchtrack.web.view.comparison import Comparison, Side
from branchtrack.web.view.tree import change_words

_POINTS = 300
_SHORT = 146


def build_charts(
    comparison: Comparison,
    axis: str,
    log: bool,
    weight: float,
    window: tuple[int | None, int | None],
    at: Sequence[int] = (),
) -> tuple[Chart, Chart]:
    """Return the curves, and below them the difference B - A on the same horizontal axis.

    ``at`` are steps to be marked, the first of A and the others of B.
    """
    a, b = comparison.pair(comparison.metric)
    to_a, to_b = _axes(comparison, axis, a, b)
    shared: dict[str, Any] = {"weight": weight, "limit": _POINTS, "window": window}
    lines, note = chart.on_axis(_lines(comparison, (a, b), (to_a, to_b), shared), axis)
    fork = axes.position((to_a, to_b), comparison.fork_step)
    origin = comparison.fork_step or 0 if axis == "since" else 0
    common: dict[str, Any] = {"x_name": axis, "weight": weight, "fork": fork, "origin": origin}
    marked = [to_a, *[to_b] * len(at)]
    guides = [axes.position([to_x], step) for to_x, step in zip(marked, at, strict=False)]
    common["guides"] = [x for x in guides if x is not None]
    upper = chart.chart(
        lines,
        metric_name=comparison.metric,
        log=log,
        x_range=_from_zero(lines, axis, window),
        note=note,
        **common,
    )
    title = f"{comparison.b.name} − {comparison.a.name}"
    gap = chart.line(
        difference(a, b, comparison.fork_step, window),
        name=title,
        style=comparison.style(comparison.b),
        to_x=to_b,
        named=False,
        marked_gaps=False,
        **shared,
    )
    lower = chart.chart(
        [gap],
        metric_name=title,
        log=False,
        height=_SHORT,
        fill=True,
        x_range=(upper.x_low, upper.x_high),
        label=_difference_words(comparison, title),
        **common,
    )
    return upper, lower


def _lines(
    comparison: Comparison,
    series: tuple[Buckets, Buckets],
    both: tuple[ToX, ToX],
    shared: dict[str, Any],
) -> list[Line]:
    """Return the trunk once, then each branch from the fork on."""
    after = -1 if comparison.fork_step is None else comparison.fork_step
    lines = []
    if comparison.fork_step is not None:
        trunk: dict[str, Any] = {"name": "shared", "style": TRUNK, "upto": after, "named": False}
        lines.append(chart.line(series[0], to_x=both[0], **trunk, **shared))
    for side, whole, to_x in zip((comparison.a, comparison.b), series, both, strict=True):
        changes = [(n.step, change_words(n.changes)) for n in reversed(comparison.changes(side))]
        lines.append(
            chart.line(
                whole,
                name=side.name,
                style=comparison.style(side),
                to_x=to_x,
                after=after,
                changes=changes,
                **shared,
            )
        )
    return lines


def _axes(comparison: Comparison, axis: str, a: Buckets, b: Buckets) -> tuple[ToX, ToX]:
    if axis == "since":
        start = comparison.fork_step or 0
        return axes.since(start), axes.since(start)
    if axis == "epoch":
        return _epochs(comparison.a), _epochs(comparison.b)
    if axis == "time":
        return axes.hours(a), axes.hours(b)
    if (counter := axes.counter(axis)) is not None:
        in_a, in_b = comparison.pair(counter)
        return axes.counted(in_a), axes.counted(in_b)
    return axes.to_steps, axes.to_steps


def _epochs(side: Side) -> ToX:
    return axes.along({node.step: node.epoch for node in side.line})


def _from_zero(
    lines: list[Line], axis: str, window: tuple[int | None, int | None]
) -> tuple[float, float] | None:
    """Begin a whole curve over steps at 0, though its first point is at 1."""
    if axis == "since" or window[0] is not None or not lines:
        return None
    high = max(line.xs[-1] for line in lines)
    return (0.0, high) if 0 < min(line.xs[0] for line in lines) < high / 20 else None


def _difference_words(comparison: Comparison, title: str) -> str:
    facts = comparison.facts()
    if facts.lower is None:
        return f"{title} of {comparison.metric}: " + (
            "no common steps" if facts.step is None else "neither stays lower"
        )
    return f"{title} of {comparison.metric}: {facts.lower} lower since step {facts.lower_since:,}"

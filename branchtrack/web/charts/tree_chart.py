"""The curves of a tree under its timeline: which branches are drawn, and how each runs.

It decides what is drawn; it reads nothing and writes no markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from branchtrack.analysis import curves
from branchtrack.core.formats import as_number
from branchtrack.core.tree import Span, lineage
from branchtrack.db.metrics import Series
from branchtrack.web.charts import chart, timeline
from branchtrack.web.charts.chart import Chart
from branchtrack.web.events.streams import Cursor
from branchtrack.web.view.tree import BranchView, TreeView, change_words

#: Points of all curves together, to limit the size of the page.
_POINTS = 2400
#: More curves than this cannot be told apart; the branch filter shows the others.
CURVES = 48


Window = tuple[int | None, int | None]


@dataclass(frozen=True)
class Curves:
    """The branches that are drawn, and the points of one metric by segment."""

    drawn: list[BranchView]
    series: Mapping[str, Series]


@dataclass(frozen=True)
class Reading:
    """The points that a chart of a tree needs: of which segments, and from which step on."""

    lows: dict[str, int]
    high: int | None

    @classmethod
    def of(cls, tree: TreeView, drawn: Sequence[BranchView], window: Window) -> Reading:
        """Return what the curves of some branches are made of, inside a window of steps."""
        low, high = window
        lows: dict[str, int] = {}
        for view in drawn:
            for span in _spans(tree, view):
                # A curve that continues on another segment needs the points that lead up to that.
                needed = min(low or 0, low or 0 if span.upto is None else span.upto)
                lows[span.segment] = min(needed, lows.get(span.segment, needed))
        return cls(lows, high)


def choose_branches(branches: Sequence[BranchView], metric: str) -> list[BranchView]:
    """Return the branches to draw, in order: at most `CURVES`, and no curve without its trunk.

    If there are more: those that train, then in turn the best by ``metric`` at their last nodes (if
    lower is better) and the newest, each with the branches that it grew from.
    """
    if len(branches) <= CURVES:
        return list(branches)
    by_id = {view.branch.id: view for view in branches}
    drawn: dict[str, BranchView] = {}
    for view in _by_interest(branches, metric):
        line = [
            branch_view
            for branch_view in _with_ancestors(view, by_id)
            if branch_view.branch.id not in drawn
        ]
        if len(drawn) + len(line) <= CURVES:
            drawn.update((branch_view.branch.id, branch_view) for branch_view in line)
    return [view for view in branches if view.branch.id in drawn]


def build_chart(
    tree: TreeView,
    branches: Sequence[BranchView],
    curves_read: Curves,
    metric: str,
    *,
    weight: float,
    log: bool,
    window: Window,
    guides: Sequence[int] = (),
) -> Chart:
    """Return the chart of ``metric`` over the steps of ``branches``, of which some are drawn.

    ``guides`` are steps to be marked.
    """
    shown = timeline.domain(branches, window)
    points = max(60, min(1000, _POINTS // max(1, len(curves_read.drawn))))
    changes: dict[str, list[tuple[int, str]]] = {}
    for node in reversed(tree.nodes.marks):
        if node.changes:
            changes.setdefault(node.branch_id, []).append((node.step, change_words(node.changes)))
    lines = [
        chart.line(
            curves.stitched(view.branch, metric, tree.starts, curves_read.series).series,
            name=view.name,
            style=view.style,
            weight=weight,
            points=points,
            to_x=chart.to_steps,
            after=view.start if view.parent else -1,
            window=window,
            changes=changes.get(view.branch.id, ()),
        )
        for view in curves_read.drawn
    ]
    return chart.chart(
        [line for line in lines if line.xs],
        metric_name=metric,
        x_name="step",
        log=log,
        weight=weight,
        x_range=(shown.low, shown.high),
        guides=guides,
    )


def last_points(series: Mapping[str, Series]) -> dict[str, tuple[int, float]]:
    """Return the newest (step, value) that was read of each segment."""
    ends = {segment: points for segment, points in series.items() if points.steps.size}
    return {
        segment: (int(points.steps[-1]), float(points.values[-1]))
        for segment, points in ends.items()
    }


def cursor(tree: TreeView, series: Mapping[str, Series]) -> Cursor:
    """Return the cursor from which the stream continues what the page shows."""
    reached = {
        view.segment.id: int(points.steps[-1]) if points is not None and points.steps.size else -1
        for view in tree.live
        if view.segment
        for points in [series.get(view.segment.id)]
    }
    return Cursor(tree.outline.cursor, reached)


def _spans(tree: TreeView, view: BranchView) -> list[Span]:
    current = view.branch.segment_id
    return lineage(current, tree.starts.__getitem__) if current else []


def _by_interest(branches: Sequence[BranchView], metric: str) -> Iterator[BranchView]:
    yield from branches[:1]
    yield from (view for view in branches if view.is_live)
    rated = [(value, view) for view in branches if (value := _last(view, metric)) is not None]
    best = [view for _, view in sorted(rated, key=lambda pair: pair[0])]
    for pair in zip_longest(best if "loss" in metric else (), reversed(branches)):
        yield from (view for view in pair if view is not None)


def _last(view: BranchView, metric: str) -> float | None:
    value = as_number(view.head.metrics.get(metric)) if view.head else None
    return value if value is not None and math.isfinite(value) else None


def _with_ancestors(view: BranchView, by_id: Mapping[str, BranchView]) -> Iterator[BranchView]:
    current: BranchView | None = view
    while current is not None:
        yield current
        current = by_id.get(current.parent.branch_id) if current.parent else None

"""The curves of a tree under its timeline: which branches are drawn, and how each runs.

It decides what is drawn; it reads nothing and writes no markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from branchtrack.analysis import curves
from branchtrack.db.metrics import Series
from branchtrack.web import charts, lanes
from branchtrack.web.charts import Chart, Line
from branchtrack.web.streams import Cursor
from branchtrack.web.views import BranchView, TreeView, change_words

#: All points of all curves together: what a page of a sensible weight holds.
_POINTS = 2400
#: More curves than this cannot be told apart; the branch filter shows the others.
CURVES = 48


def draw(
    tree: TreeView,
    branches: Sequence[BranchView],
    metric: str,
    series: Mapping[str, Series],
    *,
    weight: float,
    log: bool,
    window: tuple[int | None, int | None],
    guides: Sequence[int] = (),
) -> Chart:
    """The chart of ``metric`` along the branches; ``series`` are those of the metric by segment.

    ``guides`` are steps to be marked.
    """
    shown = lanes.domain(branches, window)
    points = max(60, min(1000, _POINTS // max(1, min(CURVES, len(branches)))))
    drawn = branches[-CURVES:]
    lines = [_line(tree, view, metric, series, weight, points, window) for view in drawn]
    return charts.chart(
        [line for line in lines if line.xs],
        metric_name=metric,
        x_name="step",
        log=log,
        weight=weight,
        x_range=(shown.low, shown.high),
        guides=guides,
    )


def cursor(tree: TreeView, series: Mapping[str, Series]) -> Cursor:
    """Where the page's stream takes over from what the page shows."""
    reached = {
        view.segment.id: int(points.steps[-1]) if points is not None and points.steps.size else -1
        for view in tree.live
        if view.segment
        for points in [series.get(view.segment.id)]
    }
    return Cursor(tree.outline.cursor, reached)


def _line(
    tree: TreeView,
    view: BranchView,
    metric: str,
    series: Mapping[str, Series],
    weight: float,
    points: int,
    window: tuple[int | None, int | None],
) -> Line:
    curve = curves.stitched(view.branch, metric, tree.starts, series)
    return charts.line(
        curve.series,
        name=view.name,
        style=view.style,
        weight=weight,
        points=points,
        to_x=charts.to_steps,
        after=view.start if view.parent else -1,
        window=window,
        changes=[
            (node.step, change_words(node.changes))
            for node in reversed(tree.nodes)
            if node.branch_id == view.branch.id and node.changes
        ],
    )

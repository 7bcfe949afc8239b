"""The wall of a tree: small charts of several metrics, one above the other on one axis.

It decides which metrics are shown and how; it reads nothing and writes no markup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.views.chart_series import OWN, Metrics
from branchtrack.web.charts import axes, chart, timeline, tree_chart
from branchtrack.web.charts.axes import ToX
from branchtrack.web.charts.chart import BARE_FOOT, FOOT, Chart
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.view.tree import HELD_OUT, BranchView, TreeView, change_words

#: Charts on one wall.
MOST = 12
#: What is shown below the loss if nothing else is asked for: the first of each that there is.
_BESIDE = ((HELD_OUT,), ("lr", "learning_rate"), ("grad_norm", "gradient_norm"))
USUAL = tuple(name for names in _BESIDE for name in names)
#: Names of metrics that a page offers; any other can be typed.
_OFFERED = 40
#: Buckets before a branch that its averages begin with: 0.99 to this power is next to nothing.
_LEAD = 1500
#: Pixels of the first chart and of each other one, without the labels of the axis.
_TALL, _SHORT = 216, 136
#: Metrics that are steps or measured rarely: an average would hide when they change.
_PLAIN = ("lr", "learning_rate", "epoch")

Window = tuple[int | None, int | None]


@dataclass(frozen=True)
class Look:
    """How a wall is drawn: ``axis`` is one of `axes.AXES` or a metric, ``window`` is in steps."""

    axis: str = "step"
    log: bool = False
    weight: float = 0.6
    window: Window = (None, None)
    guides: Sequence[int] = ()

    @property
    def counter(self) -> str | None:
        """Return the metric that is the horizontal axis, if one is."""
        return axes.counter(self.axis)

    @property
    def is_of_steps(self) -> bool:
        """Return whether all branches share an axis of steps."""
        return self.axis == "step"


@dataclass(frozen=True)
class Curves:
    """The branches that are drawn, and what was read of metrics by name and segment."""

    drawn: Sequence[BranchView]
    buckets: Mapping[str, Mapping[str, Buckets]]

    def of(self, tree: TreeView, view: BranchView, metric: str, *, whole: bool = True) -> Buckets:
        """Return a branch's curve of a metric, as far as it was read.

        Unless it is needed ``whole``, it begins so far before the branch that averages are the
        same.
        """
        of_metric = self.buckets.get(metric, {})
        parts: list[Buckets] = []
        before = 0
        for span in reversed(tree_chart.spans(tree, view)):
            if span.segment not in of_metric or before > _LEAD:
                continue
            part = of_metric[span.segment].cut(span.after, span.upto)
            is_before = span.upto is not None and span.upto <= view.start
            if is_before and not whole:
                part = part.newest(_LEAD)
                before += part.steps.size
            parts.append(part)
        return Buckets.join(parts[::-1])


def choose(metrics: Metrics, requested: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics to show, the most important one first: those requested, or a few."""
    if requested:
        return tuple(dict.fromkeys(requested))
    names = [metrics.chosen] if metrics.chosen else []
    for candidates in _BESIDE:
        names += [name for name in candidates if name in metrics.names][:1]
    if len(names) < 2:
        names += [name for name in metrics.names if not name.startswith(OWN)][:3]
    return tuple(dict.fromkeys(names)) or ("loss",)


def offered(metrics: Metrics, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the metrics to choose from, under a heading each for the script's and the others."""
    listed = list(dict.fromkeys([*names, *metrics.names]))[:_OFFERED]
    own = [name for name in listed if name.startswith(OWN)]
    scripts = [name for name in listed if not name.startswith(OWN)]
    return [(title, group) for title, group in (("metrics", scripts), ("system", own)) if group]


def is_smoothed(metric: str) -> bool:
    """Return whether a metric is shown as an average."""
    last = metric.rsplit("/", 1)[-1]
    return last not in _PLAIN and not last.startswith("eval") and not last.endswith("_lr")


def height(count: int) -> int:
    """Return the pixels that so many charts take together."""
    return _TALL + _SHORT * (count - 1) + FOOT - BARE_FOOT


def build(
    tree: TreeView,
    branches: Sequence[BranchView],
    read: Curves,
    names: Sequence[str],
    look: Look,
    points: int,
) -> list[Chart]:
    """Return the charts of the metrics ``names`` of which there are points.

    ``branches`` are those of the timeline, of which some are drawn; ``points`` is about the number
    of positions of all curves of a chart.
    """
    shown = timeline.domain(branches, look.window)
    by_branch = {view.name: _axis(tree, view, read, names, look) for view in read.drawn}
    charts = [
        _chart(tree, read, name, look, by_branch.__getitem__, shown, points)
        for name in names
        if any(part.steps.size for part in read.buckets.get(name, {}).values())
    ]
    return _on_one_axis(charts, shown, look)


def _chart(
    tree: TreeView,
    read: Curves,
    metric: str,
    look: Look,
    axis: Callable[[str], ToX],
    shown: Domain,
    points: int,
) -> Chart:
    changes: dict[str, list[tuple[int, str]]] = {}
    for node in reversed(tree.nodes.marks):
        if node.changes:
            changes.setdefault(node.branch_id, []).append((node.step, change_words(node.changes)))
    each = max(25, min(400, points // max(1, len(read.drawn))))
    weight = look.weight if is_smoothed(metric) else 0.0
    lines = [
        chart.line(
            read.of(tree, view, metric, whole=False),
            name=view.name,
            style=view.style,
            weight=weight,
            limit=each,
            to_x=axis(view.name),
            after=view.start if view.origin else -1,
            window=look.window,
            changes=changes.get(view.branch.id, ()),
            span=(shown.low, shown.high),
        )
        for view in read.drawn
        if not view.origin or look.window[1] is None or view.start < look.window[1]
    ]
    lines, note = chart.on_axis(lines, look.axis)
    return chart.chart(
        lines,
        metric_name=metric,
        x_name=look.axis,
        log=look.log,
        weight=weight,
        x_range=(shown.low, shown.high) if look.is_of_steps else None,
        guides=look.guides if look.is_of_steps else (),
        height=_SHORT,
        foot=BARE_FOOT,
        note=note,
    )


def _on_one_axis(charts: Sequence[Chart], shown: Domain, look: Look) -> list[Chart]:
    """Give all charts the same range, the first more height, and the last the axis's labels."""
    if not charts:
        return []
    # A chart of which the axis covers nothing has no range.
    ranged = [drawn for drawn in charts if drawn.lines] or charts
    low = min(drawn.x_low for drawn in ranged)
    high = max(drawn.x_high for drawn in ranged)
    last = len(charts) - 1
    return [
        one.resized(
            low,
            high,
            (_SHORT if nth else _TALL) + (FOOT - BARE_FOOT if nth == last else 0),
            FOOT if nth == last else BARE_FOOT,
        )
        for nth, one in enumerate(charts)
    ]


def _axis(tree: TreeView, view: BranchView, read: Curves, names: Sequence[str], look: Look) -> ToX:
    if look.axis == "since":
        return axes.since(view.start)
    if look.axis == "epoch":
        return axes.along(_epochs(tree, view))
    if look.axis == "time":
        return axes.hours(read.of(tree, view, names[0]))
    if look.counter is None:
        return axes.to_steps
    return axes.counted(read.of(tree, view, look.counter))


def _epochs(tree: TreeView, view: BranchView) -> dict[int, float]:
    """Return the epochs of the marked nodes on a branch and on those that it grew from."""
    epochs: dict[int, float] = {}
    current: BranchView | None = view
    upto = None
    while current is not None:
        for node in tree.nodes.marks:
            is_part = upto is None or node.step <= upto
            if node.branch_id == current.branch.id and is_part:
                epochs[node.step] = node.epoch
        upto = current.start if upto is None else min(upto, current.start)
        current = tree.parent_of(current)
    return epochs

"""What two branches have in common and where they differ, from few queries, for page and API.

It writes no markup. Curves are stitched and smoothed whole before anything is cut or thinned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from branchtrack.analysis import courses, diff
from branchtrack.analysis.comparison.side_by_side import Line, SideBySide
from branchtrack.analysis.downsample import downsample, smooth_at
from branchtrack.core import tree as lineages
from branchtrack.core.records import Node
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.metrics import BLOCK, Series
from branchtrack.db.views import chart_series, course_series, tree_nodes, tree_outline
from branchtrack.db.views.chart_series import Metrics
from branchtrack.db.views.tree_nodes import Lineage, TreeNodes
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import InvalidInput
from branchtrack.web.rendering import now
from branchtrack.web.svg.marks import colour_and_dash
from branchtrack.web.view.tree import HELD_OUT, BranchView, TreeView, standing_nodes

_ROWS = 12
#: Points of a difference that are compared to find out since when one side is lower.
_SIGNS = 2000


@dataclass(frozen=True)
class Side:
    """One of the two branches, with its tree and its complete last node.

    ``ref`` is ``run/branch``; ``name`` is the shortest that distinguishes the two. ``line`` has the
    nodes of interest from the head up to the root, see `tree_nodes.Lineage`.
    """

    ref: str
    name: str
    view: BranchView
    tree: TreeView
    head: Node | None
    line: Sequence[NodeSummary]


@dataclass(frozen=True)
class SettingRow:
    """A setting whose values differ, and the last node on each side that changed it."""

    name: str
    a: Any
    b: Any
    changed_a: NodeSummary | None
    changed_b: NodeSummary | None


@dataclass(frozen=True)
class Facts:
    """The comparison in numbers at the last common step."""

    step: int | None
    a: float | None
    b: float | None
    lower: str | None
    lower_since: int | None


@dataclass(frozen=True)
class Comparison:
    """Two branches and the metrics that were read of them, in buckets by name and segment."""

    a: Side
    b: Side
    metric: str
    metrics: tuple[str, ...]
    selection: Metrics
    buckets: Mapping[str, Mapping[str, Buckets]]
    ancestor: NodeSummary | None

    @property
    def fork_step(self) -> int | None:
        """Return the step at which they part."""
        return self.ancestor.step if self.ancestor else None

    def curve(self, side: Side, metric: str) -> Buckets:
        """Return a side's whole curve."""
        buckets = self.buckets.get(metric, {})
        return courses.stitched(side.view.branch, metric, side.tree.starts, buckets).buckets

    def pair(self, metric: str) -> tuple[Buckets, Buckets]:
        """Return both sides' curves."""
        return self.curve(self.a, metric), self.curve(self.b, metric)

    def style(self, side: Side) -> int:
        """Return the side's colour and dash: its own, unless they share one of the two."""
        if side is not self.b:
            return side.view.style
        colour, dash = colour_and_dash(self.a.view.style)
        style = side.view.style
        while colour_and_dash(style)[0] == colour or colour_and_dash(style)[1] == dash:
            style += 1
        return style

    @cached_property
    def side_by_side(self) -> SideBySide:
        """Return the two as lines side by side, the difference to A."""
        lines = tuple(_line(side) for side in (self.a, self.b))
        return SideBySide(lines, 0, self.ancestor, self.selection, self.buckets)

    def changes(self, side: Side) -> list[NodeSummary]:
        """Return the nodes with changes on a side since the two parted, newest first."""
        return diff.changed_since(side.line, self.ancestor)

    def settings(self) -> tuple[list[SettingRow], int]:
        """Return the settings that differ at the two heads, and how many there are in all."""
        a = self.a.head.settings if self.a.head else {}
        b = self.b.head.settings if self.b.head else {}
        rows = [
            SettingRow(
                difference.name,
                difference.a,
                difference.b,
                self._changed(self.a, difference.name),
                self._changed(self.b, difference.name),
            )
            for difference in diff.settings_difference(a, b)
        ]
        return rows, len({*a, *b})

    def interventions(self) -> list[tuple[Side, NodeSummary]]:
        """Return all changes on both sides since they parted, by step."""
        pairs = [(side, node) for side in (self.a, self.b) for node in self.changes(side)]
        return sorted(pairs, key=lambda pair: (pair[1].step, pair[1].seq))

    def common(self, metric: str) -> list[tuple[int, float, float]]:
        """Return the values of both at some of the common steps since they parted."""
        a, b = self.pair(metric)
        steps, in_a, in_b = _common(a, b, self.fork_step)
        if not steps.size:
            return []
        values_a, values_b = a.values(), b.values()
        return [
            (int(steps[index]), float(values_a[in_a[index]]), float(values_b[in_b[index]]))
            for index in _spread(steps)
        ]

    def facts(self) -> Facts:
        """Return which side is lower at the last common step, and since when."""
        a, b = self.pair(self.metric)
        steps, in_a, in_b = _common(a, b, self.fork_step)
        if not steps.size:
            return Facts(None, None, None, None, None)
        last_a, last_b = float(a.values()[in_a[-1]]), float(b.values()[in_b[-1]])
        gap = courses.difference(a, b, self.fork_step)
        # Of long curves the difference is one of means already.
        is_noisy = a.are_points and b.are_points and gap.steps.size > 100
        sign, since = _final_sign(gap, 0.9 if is_noisy else 0.0)
        if not sign or not (math.isfinite(last_a) and math.isfinite(last_b)):
            return Facts(int(steps[-1]), last_a, last_b, None, None)
        lower = self.b.name if sign < 0 else self.a.name
        return Facts(int(steps[-1]), last_a, last_b, lower, since)

    def table(self) -> Iterator[list[Any]]:
        """Return rows for a spreadsheet: every step of either side, if all points were read."""
        a, b = (courses.points_of(curve) for curve in self.pair(self.metric))
        values_a = dict(zip(a.steps.tolist(), a.values.tolist(), strict=True))
        values_b = dict(zip(b.steps.tolist(), b.values.tolist(), strict=True))
        for step in sorted({*values_a, *values_b}):
            value_a, other = values_a.get(step), values_b.get(step)
            gap = None if value_a is None or other is None else other - value_a
            yield [step, value_a, other, gap]

    def _changed(self, side: Side, name: str) -> NodeSummary | None:
        return next(
            (node for node in self.changes(side) if any(c.name == name for c in node.changes)),
            None,
        )


def read(
    connection: Connection,
    a_ref: str,
    b_ref: str,
    metric: str | None,
    *,
    counter: str | None = None,
    window: tuple[int | None, int | None] = (None, None),
    whole: bool = False,
) -> Comparison:
    """Return the comparison of two branches (``run/branch``), read in six statements.

    Long curves come in buckets, but as points at the steps of the table, and in a short window;
    ``whole``: all points. ``counter`` is a metric that is read, too, as the horizontal axis.

    Raises:
        NotFound: a run or branch does not exist. InvalidInput: both are the same branch.
    """
    names = [_split(ref) for ref in (a_ref, b_ref)]
    trees = tree_outline.trees(connection, [run for run, _ in names])
    ids = list(dict.fromkeys(tree.run.id for tree in trees.values()))
    bare = {run: TreeView(tree, TreeNodes(), now()) for run, tree in trees.items()}
    named = [_branch(bare[run], name).branch for run, name in names]
    standing = {node_id for tree in trees.values() for node_id in standing_nodes(tree)}
    heads = [branch.head_id or "" for branch in named]
    lineage = tree_nodes.lineage(connection, heads, ids=standing)
    nodes = {
        tree.run.id: {
            node.id: node for node in lineage.by_id.values() if node.run_id == tree.run.id
        }
        for tree in trees.values()
    }
    views = {
        run: TreeView(tree, TreeNodes(nodes[tree.run.id]), now()) for run, tree in trees.items()
    }
    branches = [_branch(views[run], name) for run, name in names]
    if branches[0].branch.id == branches[1].branch.id:
        raise InvalidInput("b", b_ref, "another branch", what="A branch was compared with itself.")
    records = tree_outline.nodes_by_id(connection, heads)
    sides = [
        _side(
            views[run], view, records.get(view.branch.head_id or ""), lineage, alone=len(ids) == 1
        )
        for (run, _), view in zip(names, branches, strict=True)
    ]
    highs = _highs(sides)
    selection = chart_series.list_metrics(connection, sorted(highs), metric)
    chosen = selection.chosen or metric or "loss"
    ancestor = diff.common_ancestor(sides[0].line, sides[1].line)
    buckets = course_series.read_buckets(
        connection,
        sorted(highs),
        list(dict.fromkeys(filter(None, (chosen, HELD_OUT, counter)))),
        cuts=_cuts(sides, ancestor),
        highs=highs,
        few=courses.ALL if whole else course_series.FEW,
        fine=_fine(window),
    )
    return Comparison(sides[0], sides[1], chosen, selection.names, selection, buckets, ancestor)


def _side(
    tree: TreeView, view: BranchView, head: Node | None, lineage: Lineage, *, alone: bool
) -> Side:
    ref = f"{tree.run.name}/{view.name}"
    line = [node for _, node in lineage.lines.get(head.id if head else "", ())]
    return Side(ref, view.name if alone else ref, view, tree, head, line)


def _line(side: Side) -> Line:
    branch, segments = side.view.branch, side.tree.outline.segments
    last = branch.segment_id
    spans = tuple(lineages.lineage(last, side.tree.starts.__getitem__)) if last else ()
    codes = (segments[span.segment].code for span in reversed(spans) if span.segment in segments)
    return Line(
        side.ref,
        side.name,
        run=side.tree.run,
        branch=branch,
        head=side.head,
        is_node=False,
        above=side.line,
        spans=spans,
        code=next((code for code in codes if code), {}),
    )


def _highs(sides: Sequence[Side]) -> dict[str, int | None]:
    """Return the segments of the curves, and the last step that is used of each."""
    highs: dict[str, int | None] = {}
    for side in sides:
        current = side.view.branch.segment_id
        spans = lineages.lineage(current, side.tree.starts.__getitem__) if current else []
        for span in spans:
            before = highs.get(span.segment, span.upto)
            highs[span.segment] = (
                None if span.upto is None or before is None else max(span.upto, before)
            )
    return highs


def _cuts(sides: Sequence[Side], ancestor: NodeSummary | None) -> dict[str, set[int]]:
    """Return the steps at which points are needed: where segments end, and those of the table."""
    lines = []
    for side in sides:
        segment = side.view.branch.segment_id
        lines.append(lineages.lineage(segment, side.tree.starts.__getitem__) if segment else [])
    cuts = courses.cuts(lines)
    first = ancestor.step + 1 if ancestor else 0
    last = min(side.view.step for side in sides) - 1
    steps = set(np.linspace(first, max(first, last), _ROWS).astype(int).tolist())
    for span in (span for spans in lines for span in spans):
        cuts.setdefault(span.segment, set()).update(steps)
    return cuts


def _fine(window: tuple[int | None, int | None]) -> tuple[int, int] | None:
    """Return the steps of which all points are needed; None if these would be too many."""
    low, high = window
    if low is None or high is None or high - low > course_series.FEW * BLOCK:
        return None
    return low, high


def _spread(steps: NDArray[np.int64]) -> list[int]:
    """Return the places of some steps, about as far from each other, both ends among them."""
    if steps.size <= _ROWS:
        return list(range(steps.size))
    targets = np.linspace(steps[0], steps[-1], _ROWS)
    places = np.minimum(np.searchsorted(steps, targets.astype(np.int64)), steps.size - 1)
    return [int(place) for place in np.unique(places)]


def _branch(view: TreeView, name: str | None) -> BranchView:
    branch_name = name or view.run.default_branch
    branch_view = view.named(branch_name)
    if branch_view is None:
        raise view.no_branch(branch_name)
    return branch_view


def _split(ref: str) -> tuple[str, str | None]:
    run, _, branch = ref.partition("/")
    return run, branch or None


def _final_sign(gap: Series, weight: float) -> tuple[float, int]:
    """Return the sign that a noisy difference ends with, and the step it has had it since."""
    thin = downsample(gap, _SIGNS)
    smooth = smooth_at(gap, weight, thin.steps)
    finite = np.flatnonzero(np.isfinite(smooth))
    if not finite.size:
        return 0.0, 0
    sign = float(np.sign(smooth[finite[-1]]))
    other = finite[np.sign(smooth[finite]) != sign]
    first = finite[finite > other[-1]][0] if other.size else finite[0]
    return sign, int(thin.steps[first])


def _common(a: Buckets, b: Buckets, after: int | None) -> tuple[Any, Any, Any]:
    steps, in_a, in_b = np.intersect1d(a.steps, b.steps, assume_unique=True, return_indices=True)
    mask = steps > (-1 if after is None else after)
    return steps[mask], in_a[mask], in_b[mask]

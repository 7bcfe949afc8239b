"""A tree laid out as a timeline: one lane a branch, its nodes as marks, and the steps shown.

It decides what is drawn; `svg.timeline` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import url_for
from markupsafe import Markup

from branchtrack.db.outlines import NodeLine
from branchtrack.web.formats import metric, plural, steps
from branchtrack.web.svg import timeline
from branchtrack.web.svg.marks import mark_kind, ticks
from branchtrack.web.svg.timeline import Domain, Lane, LaneMark
from branchtrack.web.views import BranchView, TreeView, change_words

#: Steps shown of a run that has just begun.
_FIRST = 50


def domain(
    branches: Sequence[BranchView], window: tuple[int | None, int | None] = (None, None)
) -> Domain:
    """The steps to show: all that there are, with room to grow while something trains."""
    reached = max((view.step for view in branches), default=0)
    high = reached
    for view in branches:
        planned = view.segment.max_steps if view.segment else None
        if view.is_live or not reached:
            room = max(_FIRST, _round_up(round(view.step * 1.15)))
            high = max(high, room if planned is None else min(planned, room))
    low, asked = window
    high = max(1, high if asked is None else asked)
    return Domain(min(low or 0, high - 1), high)


def draw(tree: TreeView, branches: Sequence[BranchView], shown: Domain, metric_name: str) -> Markup:
    """The timeline of some branches of a tree."""
    places = {view.branch.id: row for row, view in enumerate(branches)}
    of_branch: dict[str, list[NodeLine]] = {}
    for node in reversed(tree.nodes):
        of_branch.setdefault(node.branch_id, []).append(node)
    lanes = [
        Lane(
            name=view.name, style=view.style, start=view.start, end=view.step,
            parent=places.get(view.parent.branch_id) if view.parent else None, live=view.is_live,
            marks=tuple(_mark(node, metric_name) for node in of_branch.get(view.branch.id, [])),
        )
        for view in branches
    ]  # fmt: skip
    return timeline.draw(lanes, shown, label(branches, shown))


def label(branches: Sequence[BranchView], shown: Domain) -> str:
    """The timeline in words."""
    parts = []
    for view in branches:
        origin = f" forks at step {steps(view.start)} and" if view.parent else ""
        parts.append(f"{view.name}{origin} reaches step {steps(view.step)}")
    span = f"steps {steps(shown.low)} to {steps(shown.high)}"
    return f"{plural(len(branches), 'branch', 'branches')} over {span}: " + "; ".join(parts)


def _mark(node: NodeLine, metric_name: str) -> LaneMark:
    said = change_words(node.changes)
    value = node.metrics.get(metric_name)
    facts = [said or node.kind, f"step {steps(node.step)}"]
    facts += [f"{metric_name} {metric(value)}"] if value is not None else []
    return LaneMark(
        node.step, mark_kind(node.kind, bool(node.changes)), " · ".join(facts),
        url_for("node.show", node_id=node.id), said,
    )  # fmt: skip


def _round_up(step: int) -> int:
    places = ticks(0, step, 8)
    stride = int(places[1]) if len(places) > 1 else 1
    return -(-step // max(1, stride)) * max(1, stride)

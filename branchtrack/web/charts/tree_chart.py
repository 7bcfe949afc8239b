"""Which branches of a tree are drawn as curves, and which of their points have to be read.

It reads nothing and writes no markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from branchtrack.core.formats import as_number
from branchtrack.core.tree import Span, lineage
from branchtrack.db.views.metric_overview import Overview
from branchtrack.web.events.streams import Cursor
from branchtrack.web.view.tree import BranchView, TreeView

#: More curves than this cannot be told apart; the branch filter shows the others.
CURVES = 48


Window = tuple[int | None, int | None]


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


def cursor(tree: TreeView, names: Sequence[str], overview: Overview) -> Cursor:
    """Return the cursor from which the stream of some metrics continues what the page shows."""
    reached = {}
    for view in tree.live:
        if view.segment is not None:
            key, step = view.segment.id, view.segment.step
            known = [overview.values.get(name, {}).get(key) for name in names]
            reached[key] = tuple(step if values is None else values.last_step for values in known)
    return Cursor(tree.outline.cursor, reached)


def spans(tree: TreeView, view: BranchView) -> list[Span]:
    """Return the stretches of segments that a branch's curve consists of."""
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
        current = by_id.get(current.origin.branch_id) if current.origin else None

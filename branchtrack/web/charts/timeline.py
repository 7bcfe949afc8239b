"""The layout of a tree as a timeline: a lane for each branch, with marks for its nodes.

It decides what is drawn; `svg.timeline` draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from branchtrack.core.formats import plural, steps
from branchtrack.db.views.tree_nodes import Thinning
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.web.svg import timeline
from branchtrack.web.svg.marks import mark_kind, ticks
from branchtrack.web.svg.timeline import Domain, Lane, LaneMark
from branchtrack.web.view.tree import BranchView, TreeView, change_words
from branchtrack.web.view.trials import Tried

#: Steps shown of a run that has just begun.
_FIRST = 50
#: Plain checkpoints that are marked on all lanes together, and on one lane.
_MARKS, _FINEST, _FEWEST = 1200, 110, 12
#: Characters of a label; what is longer has names without values, and all of it in its title.
_LABEL = 48


def domain(
    branches: Sequence[BranchView], window: tuple[int | None, int | None] = (None, None)
) -> Domain:
    """Return the steps to show: all of them, with room to grow while a branch trains."""
    reached = max((view.step for view in branches), default=0)
    high = reached
    for view in branches:
        planned = view.segment.max_steps if view.segment else None
        if view.is_live or not reached:
            room = max(_FIRST, _round_up(round(view.step * 1.15)))
            # A training that has gone beyond its plan may go on.
            if planned is not None and view.step <= planned:
                room = min(planned, room)
            high = max(high, room)
    low, requested_high = window
    high = max(1, high if requested_high is None else requested_high)
    return Domain(min(low or 0, high - 1), high)


def thinning(branches: Sequence[BranchView], shown: Domain) -> Thinning:
    """Return which nodes to mark: the more branches, the fewer plain checkpoints of each."""
    buckets = min(_FINEST, _MARKS // max(1, len(branches)))
    return Thinning(shown.low, shown.high, max(_FEWEST, buckets))


@dataclass(frozen=True)
class Drawing:
    """Branches of a tree as lanes in their order; it is rendered when a page uses it."""

    lanes: Sequence[Lane]
    domain: Domain
    label: str

    @classmethod
    def of(
        cls, tree: TreeView, branches: Sequence[BranchView], shown: Domain, root: str = ""
    ) -> Drawing:
        """Return the lanes of ``branches`` with the marks that were read.

        ``root`` is the path that the pages are under.
        """
        places = {view.branch.id: row for row, view in enumerate(branches)}
        of_branch: dict[str, list[NodeSummary]] = {}
        for node in reversed(tree.nodes.marks):
            of_branch.setdefault(node.branch_id, []).append(node)
        laid = [
            Lane(
                name=view.name,
                style=view.style,
                start=view.start,
                end=view.step,
                parent=places.get(view.origin.branch_id) if view.origin else None,
                live=view.is_live,
                marks=_marks(
                    [_mark(node, root, tree.tried) for node in of_branch.get(view.branch.id, [])],
                    _hidden_parent(tree, view, places),
                ),
            )
            for view in branches
        ]
        return cls(laid, shown, label(branches, shown))

    @property
    def whole(self) -> Markup:
        """Return all lanes with their axis."""
        return timeline.render_timeline(self.lanes, self.domain, self.label)

    def lane(self, row: int) -> Markup:
        """Return one lane, to replace its earlier version."""
        bare = timeline.is_bare(self.lanes)
        return timeline.render_lane(self.lanes[row], row, self.domain, bare)


def label(branches: Sequence[BranchView], shown: Domain) -> str:
    """Describe the timeline in a sentence."""
    parts = []
    for view in branches:
        origin = f" forks at step {steps(view.start)} and" if view.origin else ""
        parts.append(f"{view.name}{origin} reaches step {steps(view.step)}")
    span = f"steps {steps(shown.low)} to {steps(shown.high)}"
    return f"{plural(len(branches), 'branch', 'branches')} over {span}: " + "; ".join(parts)


def _hidden_parent(tree: TreeView, view: BranchView, places: Mapping[str, int]) -> str:
    """Return the name of the branch that one left, if it has no lane to be seen from."""
    parent = tree.parent_of(view)
    return parent.name if parent is not None and parent.branch.id not in places else ""


def _marks(marks: list[LaneMark], hidden_parent: str) -> tuple[LaneMark, ...]:
    if marks and hidden_parent:
        first, words = marks[0], f"fork of {hidden_parent}"
        label = f"{words} · {first.label}" if first.label else words
        marks[0] = replace(first, title=f"{words} · {first.title}", label=label)
    return tuple(marks)


def _mark(node: NodeSummary, root: str, tried: Tried) -> LaneMark:
    change_text = change_words(node.changes)
    label = change_text
    if len(label) > _LABEL:
        label = ", ".join(change.name for change in node.changes)
    title = f"{change_text or node.kind} · step {steps(node.step)}"
    if (line := tried.by_node.get(node.id)) is not None:
        title, label = f"{title} · {line.text}", f"{label} · {line.words}"
    kind = mark_kind(node.kind, bool(node.changes))
    return LaneMark(node.step, kind, title, f"{root}/nodes/{node.id}", label)


def _round_up(step: int) -> int:
    places = ticks(0, step, 8)
    stride = int(places[1]) if len(places) > 1 else 1
    return -(-step // max(1, stride)) * max(1, stride)

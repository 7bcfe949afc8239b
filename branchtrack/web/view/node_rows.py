"""The rows of the node table: each node with its gutter, its loss, and the proof of its change.

It decides what a row says; the template decides how.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core import tree
from branchtrack.core.formats import as_number, setting
from branchtrack.core.records import Change
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.web.svg import gutter
from branchtrack.web.svg.gutter import Gutter
from branchtrack.web.svg.marks import mark_kind
from branchtrack.web.view.tree import BranchView, TreeView

#: Rows on one page.
PAGE = 100
#: Characters of a value in force up to which a row repeats it.
_SHORT = 40


@dataclass(frozen=True)
class Proof:
    """What was read back at the first update after a change; ``held`` if as requested.

    ``now`` is where a schedule's cycle was at that update, if ``used`` is the cycle's maximum.
    """

    held: bool
    step: int
    name: str
    requested: Any
    used: Any
    now: Any = None

    @property
    def used_text(self) -> str:
        """Return what was used: ``lr 1e-3``, or ``momentum 0.27 of a cycle up to 0.3``."""
        if self.now is None:
            return f"{self.name} {setting(self.used)}"
        return f"{self.name} {setting(self.now)} of a cycle up to {setting(self.used)}"

    @property
    def summary(self) -> str:
        """Return one line: ``lr 1e-3 used at step 121``; a long value has only its name."""
        is_long = self.held and len(self.used_text) > _SHORT
        return f"{self.name if is_long else self.used_text} used at step {self.step:,}"


@dataclass(frozen=True)
class NodeRow:
    """A line of the table; ``origin`` is the branch that a fork left."""

    node: NodeSummary
    branch: BranchView
    origin: str | None
    value: float | None
    delta: float | None
    proofs: tuple[Proof, ...]
    gutter: Gutter


def build(tree_view: TreeView, metric: str, *, only: Collection[str] = ()) -> list[NodeRow]:
    """Return the rows of the page of nodes that was read, newest first.

    ``only`` holds the names of the branches to show; without it all are shown.
    """
    drawn = _gutters(tree_view, only)
    return [_row(tree_view, node, metric, drawn) for node in tree_view.nodes.page]


def proofs(changes: Sequence[Change], effective: Mapping[str, Any] | None) -> tuple[Proof, ...]:
    """Return for each change the value that the next update used, once that was read back."""
    if effective is None:
        return ()
    obeyed = is_obeyed(effective)
    return tuple(
        Proof(
            obeyed and same(effective[change.name], change.after),
            int(effective.get("step", 0)),
            change.name,
            change.after,
            effective[change.name],
            None if change.name.endswith("lr") else effective.get(f"{change.name}_now"),
        )
        for change in changes
        if change.name in effective
    )


def is_obeyed(effective: Mapping[str, Any]) -> bool:
    """Return whether the update used all settings as requested; old records use other keys."""
    return effective.get("obeyed", effective.get("verified", True)) is True


def same(used: Any, expected: Any) -> bool:
    """Return whether the value used is the requested one, up to the last bits of a float."""
    if isinstance(used, (int, float)) and isinstance(expected, (int, float)):
        return math.isclose(used, expected, rel_tol=1e-6, abs_tol=1e-30)
    return bool(used == expected)


def _row(
    tree_view: TreeView, node: NodeSummary, metric: str, drawn: Mapping[str, Gutter]
) -> NodeRow:
    parent = tree_view.by_id.get(node.parent_id or "")
    value = as_number(node.metrics.get(metric))
    earlier = as_number(parent.metrics.get(metric)) if parent else None
    forked = node.kind == "fork" and parent is not None
    change = None if value is None or earlier is None or forked else value - earlier
    return NodeRow(
        node=node,
        branch=tree_view.by_branch[node.branch_id],
        origin=tree_view.by_branch[parent.branch_id].name if forked and parent else None,
        value=value,
        delta=change,
        proofs=proofs(node.changes, node.effective),
        gutter=drawn[node.id],
    )


def _gutters(tree_view: TreeView, only: Collection[str]) -> dict[str, Gutter]:
    """Return the lanes of the page's nodes, including lanes that come from newer pages."""
    nodes = tree_view.nodes
    links = [(node.id, _shown_parent(tree_view, node, only)) for node in nodes.above]
    links += [(node.id, _shown_parent(tree_view, node, only)) for node in nodes.page]
    lanes = tree.lanes(links)
    shown = [*nodes.above, *nodes.page]
    styles = {node.id: tree_view.by_branch[node.branch_id].style for node in shown}
    kinds = {node.id: mark_kind(node.kind, bool(node.changes)) for node in shown}
    return gutter.build_gutters(lanes, styles, kinds, skip=len(nodes.above))


def _shown_parent(tree_view: TreeView, node: NodeSummary, only: Collection[str]) -> str | None:
    """Return a node's parent, or its nearest ancestor on a branch that is shown."""
    parent = tree_view.by_id.get(node.parent_id or "")
    while parent is not None and only and tree_view.by_branch[parent.branch_id].name not in only:
        parent = tree_view.by_branch[parent.branch_id].parent
    return node.parent_id if not only else parent.id if parent else None

"""The rows of the node table: each node with its gutter, its loss, and the proof of its change.

It decides what a row says; the template decides how.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core import tree
from branchtrack.core.formats import as_number, plural, setting
from branchtrack.core.records import Change
from branchtrack.db.views.tree_nodes import LogRow
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.web.svg import gutter
from branchtrack.web.svg.gutter import Gutter
from branchtrack.web.svg.marks import mark_kind
from branchtrack.web.view.branch_choice import Rating
from branchtrack.web.view.tree import BranchView, TreeView
from branchtrack.web.view.trials import TrialLine

#: Rows on one page.
PAGE = 100
#: Characters of a value in force up to which a row repeats it.
_SHORT = 40
#: Branches that one page compares.
_COMPARED = 8


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
    """A line of the table; ``origin`` is the branch that a fork left.

    It stands for ``size`` plain checkpoints at the steps ``low`` to ``high``, of which ``node`` is
    the newest and ``first_id`` the oldest. ``forks`` are the branches that begin at the node, but
    those of trials; ``verdict`` is that of the trial of its change.
    """

    node: NodeSummary
    branch: BranchView
    origin: str | None
    value: float | None
    delta: float | None
    proofs: tuple[Proof, ...]
    gutter: Gutter
    first_id: str = ""
    size: int = 1
    low: int = 0
    high: int = 0
    forks: tuple[str, ...] = ()
    verdict: TrialLine | None = None

    def compared(self, run: str) -> list[str]:
        """Return the branches that part at the node, as ``run/branch``: at most `_COMPARED`."""
        names = [self.branch.name, *self.forks][:_COMPARED]
        return [f"{run}/{name}" for name in dict.fromkeys(names)]

    @property
    def compared_words(self) -> str:
        """Return which forks these are: ``the 2 forks``, ``the best 7 of 24 forks``."""
        most, count = _COMPARED - 1, plural(len(self.forks), "fork")
        return f"the {count}" if len(self.forks) <= most else f"the best {most} of {count}"

    @property
    def is_fold(self) -> bool:
        """Return whether it stands for several nodes."""
        return self.size > 1


def build(
    tree_view: TreeView,
    metric: str,
    *,
    rating: Rating | None = None,
    only: Collection[str] = (),
    connected: bool = True,
) -> list[NodeRow]:
    """Return the rows of the page of nodes that was read, newest first.

    ``only`` holds the names of the branches to show; without it all are shown. Rows that are not
    ``connected`` have marks without lines between them. The forks of a node stand in the order of
    ``rating``, the best first.
    """
    drawn = _gutters(tree_view, only) if connected else _marks(tree_view)
    forks = _forks(tree_view, rating or Rating())
    return [_row(tree_view, row, metric, drawn, forks) for row in tree_view.nodes.page]


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
    tree_view: TreeView,
    row: LogRow,
    metric: str,
    drawn: Mapping[str, Gutter],
    forks: Mapping[str, tuple[str, ...]],
) -> NodeRow:
    node = row.node
    parent = tree_view.by_id.get(row.parent_id or "")
    value = as_number(node.metrics.get(metric))
    earlier = as_number(parent.metrics.get(metric)) if parent else None
    forked = node.kind == "fork" and parent is not None
    return NodeRow(
        node=node,
        branch=tree_view.by_branch[node.branch_id],
        origin=tree_view.by_branch[parent.branch_id].name if forked and parent else None,
        value=value,
        delta=None if value is None or earlier is None or forked else value - earlier,
        proofs=proofs(node.changes, node.effective),
        gutter=drawn[node.id],
        first_id=row.first_id,
        size=row.size,
        low=row.low,
        high=row.high,
        forks=forks.get(node.id, ()),
        verdict=tree_view.tried.by_node.get(node.id),
    )


def _forks(tree_view: TreeView, rating: Rating) -> dict[str, tuple[str, ...]]:
    """Return the names of the branches that begin at a node, by its id, the best first."""
    best = {view.name: place for place, view in enumerate(rating.best_first(tree_view.branches))}
    forks: dict[str, list[str]] = {}
    for view in tree_view.branches:
        if not view.is_tried:
            forks.setdefault(view.branch.start_node_id or "", []).append(view.name)
    return {
        node_id: tuple(sorted(names, key=lambda name: best.get(name, len(best))))
        for node_id, names in forks.items()
    }


def _gutters(tree_view: TreeView, only: Collection[str]) -> dict[str, Gutter]:
    """Return the lanes of the page's rows, including lanes that come from newer pages."""
    nodes = tree_view.nodes
    rows = [*nodes.above, *nodes.page]
    lanes = tree.lanes([(row.node.id, _shown_parent(tree_view, row, only)) for row in rows])
    return gutter.build_gutters(lanes, *_styles(tree_view, rows), skip=len(nodes.above))


def _marks(tree_view: TreeView) -> dict[str, Gutter]:
    """Return a mark for each row of the page, without lines."""
    rows = tree_view.nodes.page
    lanes = [tree.Row(row.node.id, 0, (), (), True, True) for row in rows]
    return gutter.build_gutters(lanes, *_styles(tree_view, rows))


def _styles(
    tree_view: TreeView, rows: Sequence[LogRow]
) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Return the branch style and the mark of each row, by node."""
    styles = {row.node.id: tree_view.by_branch[row.node.branch_id].style for row in rows}
    kinds = {
        row.node.id: "fold" if row.size > 1 else mark_kind(row.node.kind, bool(row.node.changes))
        for row in rows
    }
    return styles, kinds


def _shown_parent(tree_view: TreeView, row: LogRow, only: Collection[str]) -> str | None:
    """Return a row's parent, or its nearest ancestor on a branch that is shown."""
    parent_id = row.parent_id
    parent = tree_view.by_id.get(parent_id or "")
    if not only or parent is None:
        return parent_id
    branch = tree_view.by_branch.get(parent.branch_id)
    while branch is not None and branch.name not in only:
        parent_id, branch = branch.branch.start_node_id, tree_view.parent_of(branch)
    return parent_id if branch is not None else None

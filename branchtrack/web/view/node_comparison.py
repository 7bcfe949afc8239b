"""What two nodes have in common and where they differ, from few queries.

It writes no markup. `comparison` compares branches, along their whole curves.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from branchtrack.analysis import diff
from branchtrack.analysis.diff import SettingDifference
from branchtrack.core.formats import as_number
from branchtrack.core.records import Branch, Node
from branchtrack.db import nodes
from branchtrack.db.views import tree_outline
from branchtrack.db.views.tree_outline import NodeMark
from branchtrack.errors import InvalidInput


@dataclass(frozen=True)
class NodeSide:
    """One of the two nodes, its branch, and the line from it up to the root."""

    node: Node
    run_name: str
    branch: Branch
    line: list[NodeMark]

    @property
    def ref(self) -> str:
        """Return the branch in the form ``run/branch``."""
        return f"{self.run_name}/{self.branch.name}"


@dataclass(frozen=True)
class MetricRow:
    """A metric of either node, and ``b - a`` if both are numbers."""

    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """Return ``b - a``."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True)
class NodeComparison:
    """Two nodes; ``ancestor`` is the nearest node above (or equal to) both."""

    a: NodeSide
    b: NodeSide
    ancestor: NodeMark | None

    @property
    def styles(self) -> tuple[int, int]:
        """Return the colours and dashes of the two branches."""
        return self.a.branch.position, self.b.branch.position

    @property
    def settings(self) -> tuple[SettingDifference, ...]:
        """Return the settings whose values differ."""
        return diff.settings_difference(self.a.node.settings, self.b.node.settings)

    @property
    def settings_in_all(self) -> int:
        """Return how many settings either has."""
        return len({*self.a.node.settings, *self.b.node.settings})

    @property
    def metrics(self) -> list[MetricRow]:
        """Return the metrics of either, by name."""
        a, b = self.a.node.metrics, self.b.node.metrics
        return [
            MetricRow(name, as_number(a.get(name)), as_number(b.get(name)))
            for name in sorted({*a, *b})
        ]

    @property
    def changes(self) -> list[tuple[NodeSide, NodeMark]]:
        """Return the nodes with changes between the common ancestor and either node, by step."""
        pairs = [
            (side, mark)
            for side in (self.a, self.b)
            for mark in diff.changed_since(side.line, self.ancestor)
        ]
        return sorted(pairs, key=lambda pair: (pair[1].step, pair[1].seq))

    @property
    def is_one_branch(self) -> bool:
        """Return whether both are on the same branch."""
        return self.a.branch.id == self.b.branch.id


def read(connection: Connection, a_ref: str, b_ref: str) -> NodeComparison:
    """Return the comparison of two nodes, each an id (prefix) or ``run/branch`` for its head.

    Raises:
        NotFound: a node does not exist. InvalidInput: both are the same node.
    """
    a, b = (nodes.find(connection, ref) for ref in (a_ref, b_ref))
    if a.id == b.id:
        raise InvalidInput("b", b_ref, "another node", what="A node was compared with itself.")
    branches = tree_outline.branches_of(connection, {a.run_id, b.run_id})
    sides = [
        NodeSide(node, *branches[node.branch_id], tree_outline.ancestors(connection, node.id))
        for node in (a, b)
    ]
    return NodeComparison(sides[0], sides[1], diff.common_ancestor(sides[0].line, sides[1].line))

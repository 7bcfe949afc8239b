"""Two nodes are compared from their common ancestor on, wherever they lie."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NotFound
from branchtrack.web.view import node_comparison
from branchtrack.web.view.node_comparison import MetricRow, NodeComparison
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def nodes(sqlite_database: Database, store: Store) -> list[Node]:
    """The nodes of a forked tree, see `make_forked_tree`."""
    return make_forked_tree(sqlite_database, store)[1]


def compare(database: Database, a: Node, b: Node) -> NodeComparison:
    with database.read() as connection:
        return node_comparison.read(connection, a.id, b.id)


def test_nodes_of_two_branches_part_at_their_common_ancestor(
    sqlite_database: Database, nodes: list[Node]
) -> None:
    both = compare(sqlite_database, nodes[3], nodes[5])
    assert both.ancestor is not None and both.ancestor.id == nodes[1].id
    assert [(side.ref, mark.id) for side, mark in both.changes] == [
        ("demo/cooler", nodes[4].id),
        ("demo/main", nodes[2].id),
    ]
    assert not both.is_one_branch and both.styles == (0, 1)


def test_the_older_of_two_nodes_in_line_is_the_ancestor_itself(
    sqlite_database: Database, nodes: list[Node]
) -> None:
    both = compare(sqlite_database, nodes[1], nodes[3])
    assert both.ancestor is not None and both.ancestor.id == nodes[1].id
    assert both.is_one_branch and [mark.id for _side, mark in both.changes] == [nodes[2].id]


def test_only_settings_that_differ_are_listed(sqlite_database: Database, nodes: list[Node]) -> None:
    both = compare(sqlite_database, nodes[3], nodes[5])
    assert [(row.name, row.a, row.b) for row in both.settings] == [("lr", 0.02, 0.001)]
    assert both.settings_in_all == 3


def test_a_metric_that_one_node_lacks_has_no_difference(
    sqlite_database: Database, nodes: list[Node]
) -> None:
    (row,) = compare(sqlite_database, nodes[3], nodes[5]).metrics
    assert (row.name, row.a, row.b, row.difference) == ("loss", None, 1.0, None)
    assert MetricRow("loss", 2.0, 0.5).difference == -1.5


def test_a_node_is_not_compared_with_itself_or_with_nothing(
    sqlite_database: Database, nodes: list[Node]
) -> None:
    with sqlite_database.read() as connection:
        with pytest.raises(InvalidInput, match="compared with itself"):
            node_comparison.read(connection, nodes[5].id, "demo/cooler")
        with pytest.raises(NotFound):
            node_comparison.read(connection, nodes[5].id, "ffffffff")

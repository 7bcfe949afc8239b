"""What is said of the weights of two sides, also where they cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from branchtrack.analysis.comparison import payloads_weights
from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage import references, thinning
from branchtrack.errors import InvalidInput
from tests.trees_for_tests import Tree, make_forked_tree, make_tree


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    return make_forked_tree(sqlite_database, store)[0]


def measured(tree: Tree, a: str, b: str, most: int | None = None) -> dict[str, Any]:
    with tree.database.read() as connection:
        planned = payloads_weights.plan(connection, a, b)
    return payloads_weights.measured(tree.store, planned, most)


def thin(tree: Tree, ref: str, left: str) -> None:
    with tree.database.transaction() as connection:
        digest = nodes.find(connection, ref).state_digest
        thinning.mark(connection, {digest: left})


def test_branches_stand_for_their_newest_nodes(tree: Tree) -> None:
    answer = measured(tree, "demo/main", "demo/cooler")
    with tree.database.read() as connection:
        assert answer["a"] == nodes.find(connection, "demo/main").id
    # Filled with their steps: 30 and 20, from 10.
    assert answer["total"] == {
        **{"name": "all", "tensors": 1, "equal": 0, "elements": 64},
        **{"distance": pytest.approx(1.0), "cosine": pytest.approx(1.0)},
        **{"moved_a": pytest.approx(2.0), "moved_b": pytest.approx(1.0)},
    }
    assert answer["has_fork"] and answer["notes"] == []


def test_thinned_checkpoints_are_named(tree: Tree) -> None:
    thin(tree, "demo/cooler", references.RECIPE)
    answer = measured(tree, "demo/main", "demo/cooler")
    assert answer["rows"] == [] and "was thinned: its recipe is left" in str(answer["notes"])


def test_of_weights_that_alone_are_left_distances_are_measured(tree: Tree) -> None:
    thin(tree, "demo/cooler", references.WEIGHTS)
    assert measured(tree, "demo/main", "demo/cooler")["rows"]


def test_a_pack_that_is_gone_is_said(tree: Tree) -> None:
    with tree.database.read() as connection:
        digest = nodes.find(connection, "demo/main").state_digest
        (location,) = nodes.checkpoint(connection, digest).locations.values()
    Path(tree.store.describe(location.pack)).unlink()
    answer = measured(tree, "demo/main", "demo/cooler")
    assert answer["rows"] == [] and len(answer["notes"]) == 1


def test_trees_without_a_common_node_are_compared_by_the_first(tree: Tree) -> None:
    other = make_tree(tree.database, tree.store, "other")
    other.node("main", 15)
    answer = measured(tree, "demo/main", "other/main")
    assert not answer["has_fork"] and "no common ancestor" in str(answer["notes"])
    assert answer["total"]["distance"] == pytest.approx(0.5)


def test_no_more_is_read_than_allowed(tree: Tree) -> None:
    answer = measured(tree, "demo/main", "demo/cooler", most=100)
    assert answer["rows"] == [] and "branchtrack diff" in str(answer["notes"])


def test_a_branch_without_a_node_is_refused(tree: Tree) -> None:
    tree.branch("empty")
    with pytest.raises(InvalidInput):
        measured(tree, "demo/main", "demo/empty")

"""Branches that would be trained again are found, and others are not."""

from __future__ import annotations

from typing import Any

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from branchtrack.db.views.identical_branches import identical_branches
from tests.trees_for_tests import Tree, make_forked_tree


def names(tree: Tree, node: Node, overrides: dict[str, Any], mode: str = "exact") -> list[str]:
    with tree.database.read() as connection:
        return [found.name for found in identical_branches(connection, node, overrides, mode)]


def order(tree: Tree, node: Node, name: str, mode: str = "exact", **settings: Any) -> None:
    control.create_launch(
        tree.database, tree.store, node.id, actor="me", name=name, settings=settings, mode=mode
    )


def test_the_same_state_settings_and_mode_are_the_same_branch(
    database: Database, store: Store
) -> None:
    tree, tree_nodes = make_forked_tree(database, store)
    ten, twenty = tree_nodes[1], tree_nodes[2]
    order(tree, ten, "hot", lr=0.5)
    order(tree, ten, "weights", mode="weights", lr=0.5)
    assert names(tree, ten, {"lr": 0.5}) == ["hot"]
    assert names(tree, ten, {"lr": 0.5}, "weights") == ["weights"]
    assert names(tree, ten, {"lr": 0.4}) == []
    assert names(tree, twenty, {"lr": 0.5}) == []


def test_a_fork_of_the_same_state_counts_with_what_it_has_changed(
    database: Database, store: Store
) -> None:
    tree, tree_nodes = make_forked_tree(database, store)
    ten, fork = tree_nodes[1], tree_nodes[4]
    order(tree, fork, "from-fork", weight_decay=0.1)
    same = {"lr": 0.001, "weight_decay": 0.1}
    # The small trees number their states: that of the fork is that of its parent.
    assert fork.state_digest == ten.state_digest
    assert names(tree, ten, same) == ["from-fork"]
    assert names(tree, ten, {"weight_decay": 0.1}) == []


def test_a_node_that_its_own_branch_went_on_from_is_trained_already(
    sqlite_database: Database, store: Store
) -> None:
    tree, tree_nodes = make_forked_tree(sqlite_database, store)
    assert names(tree, tree_nodes[1], {}) == ["main"]
    assert names(tree, tree_nodes[1], {"lr": 0.01}) == ["main"]
    assert names(tree, tree_nodes[3], {}) == []
    assert names(tree, tree_nodes[1], {}, "weights") == []


def test_the_best_loss_and_the_status_are_given(sqlite_database: Database, store: Store) -> None:
    tree, tree_nodes = make_forked_tree(sqlite_database, store)
    tree.end("main")
    with sqlite_database.read() as connection:
        (found,) = identical_branches(connection, tree_nodes[1], {}, "exact")
    # Its points are the numbers of their steps.
    assert found.as_dict() == {"branch": "main", "status": "finished", "loss": 1.0}

"""Changes that are tried have short names."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change
from branchtrack.core.trials import labels
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_tree


def test_settings_are_named_as_they_were_requested() -> None:
    assert labels.of_settings({"lr": "x0.9", "weight_decay": 0}) == "lr=x0.9 weight_decay=0"


def test_a_node_is_named_by_its_changes_without_those_of_trials(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    changes = (Change("lr", 0.01, 0.003), Change("seed", 0, 7))
    node = tree.node("main", 10, kind="intervention", changes=changes)
    assert labels.of_node(node) == "lr 0.01 → 3e-3"
    assert labels.of_node(tree.node("main", 20, node)) == "checkpoint"

"""What an order may change is validated against the node's own process."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch_settings
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NameTaken
from tests.trees_for_tests import make_forked_tree


def test_values_are_parsed_and_relative_ones_are_those_of_the_node(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        settings = {"lr": "x0.5", "weight_decay": "+0.1"}
        for node, lr in ((tree_nodes[1], 0.005), (tree_nodes[2], 0.01)):
            expected = {"lr": lr, "weight_decay": 0.1}
            validate = launch_settings.validate_overrides
            assert validate(connection, node, settings) == expected
            assert launch_settings.check_here(connection, node, settings, "exact", None) == expected


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (({"lr": "x0"}, "exact", None), InvalidInput),
        (({}, "magic", None), InvalidInput),
        (({}, "exact", "cooler"), NameTaken),
    ],
)
def test_a_resume_within_a_process_is_refused_as_any_other(
    sqlite_database: Database, store: Store, how: Any, error: type[Exception]
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection, pytest.raises(error):
        launch_settings.check_here(connection, tree_nodes[1], *how)

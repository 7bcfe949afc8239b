"""What an order may change is validated against the node's own process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch_settings
from branchtrack.core.builtin_settings import BUILT_IN, LR_SCHEDULER_TYPE, MAX_STEPS
from branchtrack.db import tables
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NameTaken, NeverWhole
from tests.trees_for_tests import make_forked_tree, make_tree


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


LINEAR = {"lr_scheduler_type": "linear", "max_steps": "+50"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (LINEAR, {"max_steps": 60, "schedule_from": "hold"}),
        ({**LINEAR, "horizon": "rescale"}, {"max_steps": 60, "horizon": "rescale"}),
        ({**LINEAR, "schedule_from": "restart"}, {"max_steps": 60, "schedule_from": "restart"}),
    ],
)
def test_another_schedule_over_some_more_updates_begins_at_the_node(
    sqlite_database: Database, store: Store, settings: Any, expected: Any
) -> None:
    tree = make_tree(sqlite_database, store)
    rows = [setting.as_dict() for setting in (*BUILT_IN, MAX_STEPS, LR_SCHEDULER_TYPE)]
    with sqlite_database.transaction() as connection:
        connection.execute(tables.segments.update().values(declared=rows))
    node = tree.node("main", 10, settings={"max_steps": 300, "lr_scheduler_type": "constant"})
    with sqlite_database.read() as connection:
        overrides = launch_settings.validate_overrides(connection, node, settings)
        assert overrides == {"lr_scheduler_type": "linear", **expected}
        # Without another schedule nothing is implied.
        same = {"max_steps": "+50"}
        assert launch_settings.validate_overrides(connection, node, same) == {"max_steps": 60}


def test_a_merge_is_resumed_with_its_weights_and_never_exactly(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    merge = replace(tree_nodes[3], kind="merge")
    assert launch_settings.default_mode(merge) == "weights"
    assert launch_settings.default_mode(tree_nodes[3]) == "exact"
    with sqlite_database.read() as connection:
        assert launch_settings.check_here(connection, merge, {}, "weights", None) == {}
        with pytest.raises(NeverWhole, match="mode weights"):
            launch_settings.check_here(connection, merge, {}, "exact", None)

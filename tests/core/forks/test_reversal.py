"""Which changes of a node a resume can take back; what that trains is in `tests/training`."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.builtin_settings import FROZEN, LR, MAX_STEPS
from branchtrack.core.forks import reversal
from branchtrack.core.records import Change, Node
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests.trees_for_tests import Tree, make_tree

OFFERED = {setting.name: setting for setting in (LR, MAX_STEPS, FROZEN)}


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    made = make_tree(sqlite_database, store)
    made.node("main", 0, kind="root")
    return made


def changed(tree: Tree, *changes: Change, **settings: Any) -> Node:
    return tree.node("main", 10, kind="intervention", changes=changes, settings=settings)


def test_settings_get_the_values_that_they_had(tree: Tree) -> None:
    node = changed(tree, Change("lr", 0.01, 0.02), Change("frozen", "", "head"))
    assert reversal.settings_before(node, OFFERED) == {"lr": 0.01, "frozen": ""}
    assert reversal.is_reversible(node, OFFERED)


@pytest.mark.parametrize(
    ("kind", "horizon"), [("linear", {"horizon": "rescale"}), ("constant", {})]
)
def test_a_schedule_with_an_end_is_made_for_the_length_that_it_had(
    tree: Tree, kind: str, horizon: dict[str, str]
) -> None:
    node = changed(tree, Change("max_steps", 40, 60), lr_scheduler_type=kind)
    assert reversal.settings_before(node, OFFERED) == {"max_steps": 40, **horizon}


@pytest.mark.parametrize(
    "change",
    [
        Change("reset", None, "head"),
        Change("act.relabel", None, {}),
        Change("lr", None, 0.02),
        Change("lr", 0.01, 0.02, 8),
        Change("schedule", None, {"kind": "linear"}),
        Change("data.mixture", 1, 2),
    ],
)
def test_what_is_in_the_state_already_is_refused(tree: Tree, change: Change) -> None:
    node = changed(tree, change)
    assert not reversal.is_reversible(node, OFFERED)
    with pytest.raises(InvalidInput, match=f"{change.name} of node {node.id} cannot") as caught:
        reversal.settings_before(node, OFFERED)
    assert caught.value.field == "without_change"


def test_a_node_without_a_change_has_no_other_road(tree: Tree) -> None:
    node = tree.node("main", 20)
    assert not reversal.is_reversible(node, OFFERED)
    with pytest.raises(InvalidInput, match="changed nothing"):
        reversal.settings_before(node, OFFERED)

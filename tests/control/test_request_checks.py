"""What can be known of a request before its process sees it."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.builtin_settings import BUILT_IN, FROZEN, SEED
from branchtrack.core.capabilities import Capabilities
from branchtrack.db import segments, tables
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, InvalidInput
from tests.trees_for_tests import SETTINGS, Tree, make_tree


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    """A run with a model of two parts, of which one is frozen."""
    made = make_tree(sqlite_database, store)
    modules = ["body", "body.weight", "body.bias", "head", "head.weight"]
    with sqlite_database.transaction() as connection:
        connection.execute(
            tables.segments.update().values(
                declared=[setting.as_dict() for setting in (*BUILT_IN, FROZEN, SEED)],
                settings={**SETTINGS, "frozen": "body"},
                offers=Capabilities({}, modules).as_dict(),
            )
        )
    return made


def ask(tree: Tree, kind: str, when: dict[str, Any] | None = None, **payload: Any) -> Any:
    return control.submit(tree.database, "demo", {"kind": kind, **payload}, actor="me", when=when)


def test_a_relative_value_is_requested_as_it_is_now_and_only_while_that_holds(tree: Tree) -> None:
    request = ask(tree, "set", values={"lr": "x0.5", "weight_decay": "0.1"})
    assert request.payload == {"values": {"lr": "x0.5", "weight_decay": "0.1"}}
    assert request.requested == {"values": {"lr": 0.005, "weight_decay": 0.1}}
    assert request.conditions == {"only_if": {"lr": 0.01}}


def test_a_condition_of_the_request_itself_counts_for_more(tree: Tree) -> None:
    request = ask(tree, "set", {"only_if": {"lr": "0.01", "weight_decay": 0}}, values={"lr": "+1"})
    assert request.conditions == {"only_if": {"lr": 0.01, "weight_decay": 0.0}}
    with pytest.raises(InvalidInput, match="name"):
        ask(tree, "set", {"only_if": "lr"}, values={"lr": "+1"})


@pytest.mark.parametrize("modules", ["*", "head", "head.weight", "body,head*"])
def test_the_last_that_trains_is_not_frozen(tree: Tree, modules: str) -> None:
    with pytest.raises(InvalidInput, match="is not accepted") as caught:
        ask(tree, "freeze", modules=modules)
    assert caught.value.field == "modules" and "leave something to train" in caught.value.fix
    result = control.preview(
        tree.database, "demo", {"kind": "freeze", "modules": modules}, actor="me"
    )
    assert (result["valid"], result["error"]["field"]) == (False, "modules")


def test_something_else_can_be_frozen(tree: Tree) -> None:
    assert ask(tree, "freeze", modules="body.bias").state == "accepted"


def test_a_preview_of_a_rewind_compares_with_the_settings_of_its_node(tree: Tree) -> None:
    node = tree.node("main", 10, settings={"seed": 3, "lr": 0.5})
    payload = {"kind": "rewind", "node": node.id, "values": {"seed": "4", "lr": "x2"}}
    result = control.preview(tree.database, "demo", payload, actor="me")
    changes = {change["name"]: (change["before"], change["after"]) for change in result["changes"]}
    assert changes == {"seed": (3, 4), "lr": (0.5, 1.0)}
    with tree.database.read() as connection:
        assert segments.get(connection, tree.segment("main").id).settings["lr"] == 0.01


def test_a_pause_of_the_branch_can_be_ended_alone(tree: Tree) -> None:
    pause = ask(tree, "pause", seconds=60)
    assert pause.requested == {"seconds": 60}
    assert ask(tree, "unpause", pause=pause.id[:8]).requested == {"pause": pause.id}
    evaluation = ask(tree, "checkpoint")
    for wrong in (evaluation.id, "unknown"):
        with pytest.raises(BranchtrackError, match=wrong):
            ask(tree, "unpause", pause=wrong)

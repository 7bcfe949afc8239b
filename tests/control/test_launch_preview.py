"""What an order would do is said before it is given, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import ForkOrder, code_changes
from branchtrack.core.actors import Actor
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from branchtrack.errors import CodeChanged, Forbidden, InvalidInput, NotFound
from tests.control.samples import row_counts
from tests.trees_for_tests import Tree, make_forked_tree


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    return make_forked_tree(sqlite_database, store)[0]


def preview(tree: Tree, nodes: str = "demo@10", actor: Actor | str = "me", **order: Any) -> Any:
    before = row_counts(tree.database)
    result = control.preview_launches(
        tree.database, tree.store, ForkOrder(nodes.split(","), **order), actor=actor
    )
    assert row_counts(tree.database) == before
    return result


def test_it_has_the_difference_the_cost_and_what_is_restored(tree: Tree) -> None:
    result = preview(tree, settings={"lr": "x0.5"})
    (line,) = result["branches"]
    assert (line["run"], line["branch"], line["step"], line["mode"]) == (
        "demo",
        "main-2",
        10,
        "exact",
    )
    assert line["changes"] == [{"name": "lr", "before": 0.01, "after": 0.005}]
    assert (line["overrides"], line["relative"]) == ({"lr": 0.005}, {"lr": "x0.5"})
    # The process of the small trees trains 1,000 steps.
    assert (line["steps"], line["max_steps"], result["steps"]) == (990, 1000, 990)
    assert line["restored"]["lr"] == "replaced" and line["restored"]["weights"] == "restored"
    assert (result["group"], result["refused"], line["error"]) == (None, 0, None)


def test_one_that_stops_early_costs_the_updates_up_to_there(tree: Tree) -> None:
    result = preview(tree, settings={"stop_at": "+200", "lr": "1e-3,2e-3"})
    assert [line["steps"] for line in result["branches"]] == [200, 200]
    assert result["branches"][0]["max_steps"] == 1000 and result["steps"] == 400
    (line,) = preview(tree, settings={"stop_at": "+20"}, mode="weights")["branches"]
    assert (line["steps"], line["max_steps"]) == (20, None)
    (refused,) = preview(tree, settings={"stop_at": 10})["branches"]
    assert refused["error"]["field"] == "stop_at"


def test_with_the_weights_alone_the_rest_is_reset_and_only_the_script_knows_the_end(
    tree: Tree,
) -> None:
    result = preview(tree, mode="weights")
    (line,) = result["branches"]
    assert line["restored"]["optimizer"] == "reset" and line["restored"]["weights"] == "restored"
    assert line["steps"] is None and result["steps"] is None


def test_several_branches_are_summed_up_under_their_group(tree: Tree) -> None:
    result = preview(tree, "demo@10,demo@20", settings={"lr": "1e-3,2e-3"})
    assert [line["branch"] for line in result["branches"]] == [
        "at-10-lr-1e-3",
        "at-10-lr-2e-3",
        "at-20-lr-1e-3",
        "at-20-lr-2e-3",
    ]
    assert (result["group"], result["steps"]) == ("lr", 2 * 990 + 2 * 980)


def test_a_refused_branch_stands_beside_those_that_are_not(tree: Tree) -> None:
    result = preview(tree, settings={"lr": "1e-3,-1"})
    good, bad = result["branches"]
    assert (good["error"], bad["error"]["field"], result["refused"]) == (None, "lr", 1)
    assert (bad["steps"], bad["restored"], result["steps"]) == (None, {}, 990)
    assert preview(tree, name="cooler")["branches"][0]["error"]["type"] == "NameTaken"


def test_what_was_trained_already_is_a_warning(tree: Tree) -> None:
    control.create_launch(
        tree.database, tree.store, "demo@10", actor="me", name="hot", settings={"lr": 0.5}
    )
    (line,) = preview(tree, settings={"lr": "0.5"})["branches"]
    assert line["warnings"] == ["the same as hot (waiting)"]
    assert line["identical"] == [{"branch": "hot", "status": "waiting", "loss": None}]
    (line,) = preview(tree, settings={"lr": "0.01"})["branches"]
    assert line["warnings"][0] == "lr already has that value"
    assert line["warnings"][1].startswith("the same as main (running, best loss 1")


def test_two_branches_of_one_order_that_train_the_same_are_a_warning(tree: Tree) -> None:
    _first, second = preview(tree, settings={"lr": "0.02,x2"})["branches"]
    assert second["warnings"] == ["the same as lr-0.02 of this order"]


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ({"nodes": "demo@11"}, NotFound),
        ({"settings": {"lr": "1e-3,2e-3", "weight_decay": "0,0.1"}}, InvalidInput),
        ({"mode": "magic"}, InvalidInput),
        ({"name": 5}, InvalidInput),
        ({"actor": Actor("eve", "viewer", "web")}, Forbidden),
    ],
)
def test_an_order_that_is_refused_as_a_whole_has_no_preview(
    tree: Tree, order: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        preview(tree, **order)


@pytest.mark.parametrize(
    ("turn", "field"),
    [
        ({"labels": ["two words"]}, "labels"),
        ({"priority": 5000}, "priority"),
        ({"retries": -1}, "retries"),
    ],
)
def test_a_turn_that_an_order_would_be_refused_for_has_no_preview(
    tree: Tree, turn: dict[str, Any], field: str
) -> None:
    for act in (control.preview_launches, control.create_launches):
        with pytest.raises(InvalidInput) as refused:
            act(tree.database, tree.store, ForkOrder(["demo@10"]), actor="me", **turn)
        assert refused.value.field == field


def test_other_code_is_refused_by_a_preview_as_by_the_order(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_connection: Any, node: Any, _entry_point: Any) -> None:
        raise CodeChanged(node.id[:8], ["train.py"], [], "")

    monkeypatch.setattr(code_changes, "check", refuse)
    order = ForkOrder(["demo@10"])
    for act in (control.preview_launches, control.create_launches):
        with pytest.raises(CodeChanged):
            act(tree.database, tree.store, order, actor="me", allow_code_change=False)
    assert preview(tree)["refused"] == 0


def test_it_names_the_group_that_an_order_would_make_now(tree: Tree) -> None:
    order: dict[str, Any] = {"settings": {"lr": "0.001, 0.002"}, "name": "zz"}
    assert preview(tree, **order)["group"] == "zz"
    for name in ("zz", "zz-2"):
        assert preview(tree, **order)["group"] == name
        launched = control.create_launches(
            tree.database, tree.store, ForkOrder(["demo@10"], **order), actor="me"
        )
        with tree.database.read() as connection:
            assert groups.name_of(connection, launched[0].group_id) == name

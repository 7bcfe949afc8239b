"""An order of several branches is queued whole and grouped, or changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import ForkOrder, fan_out
from branchtrack.core.actors import Actor
from branchtrack.core.records import Launch, Node
from branchtrack.db import audit, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, launches
from branchtrack.errors import (
    CheckpointDamaged,
    Forbidden,
    InvalidInput,
    NameTaken,
    NotFound,
    RateLimited,
)
from tests.control.samples import row_counts
from tests.trees_for_tests import make_forked_tree, make_tree


def create(database: Database, store: Store, node: str, **order: Any) -> list[Launch]:
    refs = node.split(",")
    return control.create_launches(database, store, ForkOrder(refs, **order), actor="me")


def names(database: Database, launched: list[Launch]) -> list[str]:
    with database.read() as connection:
        return [launches.branch_name(connection, launch) for launch in launched]


def test_a_list_of_values_is_one_branch_each_in_one_group(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    order = {"lr": "1e-4,x2", "weight_decay": "0.1"}
    launched = create(database, store, "demo@10", settings=order)
    assert names(database, launched) == ["lr-1e-4", "lr-x2"]
    assert [launch.overrides["lr"] for launch in launched] == [1e-4, 0.02]
    with database.read() as connection:
        (group,) = groups.of_run(connection, tree_nodes[0].run_id)
        members = groups.members(connection, group.id)
        forks = [nodes.get(connection, launch.fork_node_id) for launch in launched]
    assert (group.name, group.kind) == ("lr", "values")
    assert [branch.id for branch in members] == [launch.branch_id for launch in launched]
    assert {launch.group_id for launch in launched} == {group.id}
    assert [fork.settings["weight_decay"] for fork in forks] == [0.1, 0.1]
    assert {fork.state_digest for fork in forks} == {tree_nodes[1].state_digest}


def test_what_was_relative_is_in_the_event_as_it_was_asked_for(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    (launch,) = create(sqlite_database, store, "demo@10", settings={"lr": "x0.5"})
    with sqlite_database.read() as connection:
        events = audit.since(connection, tree_nodes[0].run_id)
        assert audit.first_broken_seq(connection, tree_nodes[0].run_id) is None
        assert audit.unlogged_changes(connection, tree_nodes[0].run_id) == []
    (event,) = [event for event in events if event.ref == launch.id]
    assert event.payload["relative"] == {"lr": "x0.5"} and event.payload["lr"] == 0.005


def test_the_same_change_from_several_nodes_is_one_branch_each(
    sqlite_database: Database, store: Store
) -> None:
    make_forked_tree(sqlite_database, store)
    settings = {"lr": "x0.5"}
    launched = create(sqlite_database, store, "demo@10,demo@20", settings=settings, name="cool")
    assert names(sqlite_database, launched) == ["cool-at-10", "cool-at-20"]
    assert [launch.overrides["lr"] for launch in launched] == [0.005, 0.01]
    again = create(sqlite_database, store, "demo@10,demo@20", settings=settings)
    assert names(sqlite_database, again) == ["lr-at-10", "lr-at-20"]
    both = create(sqlite_database, store, "demo@10,demo@20", settings={"lr": "1e-3,2e-3"})
    assert names(sqlite_database, both)[0] == "at-10-lr-1e-3"
    with sqlite_database.read() as connection:
        kinds = [(group.name, group.kind) for group in groups.of_run(connection, both[0].run_id)]
    assert kinds == [("cool", "horizons"), ("lr", "horizons"), ("lr-2", "horizons")]


def test_a_grid_is_every_combination(sqlite_database: Database, store: Store) -> None:
    make_forked_tree(sqlite_database, store)
    grid = {"lr": ["1e-3,2e-3"], "weight_decay": [0, 0.1]}
    launched = create(sqlite_database, store, "demo@10", grid=grid, group="sweep")
    assert names(sqlite_database, launched) == [
        "lr-1e-3-weight_decay-0",
        "lr-1e-3-weight_decay-0.1",
        "lr-2e-3-weight_decay-0",
        "lr-2e-3-weight_decay-0.1",
    ]
    with sqlite_database.read() as connection:
        (group,) = groups.of_run(connection, launched[0].run_id)
    assert (group.name, group.kind) == ("sweep", "grid")


def test_a_branch_by_itself_is_in_no_group_unless_one_is_named(
    sqlite_database: Database, store: Store
) -> None:
    make_forked_tree(sqlite_database, store)
    (alone,) = create(sqlite_database, store, "demo@10", settings={"lr": "1e-3"}, name="alone")
    (named,) = create(sqlite_database, store, "demo@10", settings={"lr": "1e-3"}, group="g")
    assert alone.group_id is None and named.group_id is not None
    assert names(sqlite_database, [alone, named]) == ["alone", "main-2"]


@pytest.mark.parametrize(
    ("node", "order", "error"),
    [
        ("demo@10", {"settings": {"lr": "1e-3,-1"}}, InvalidInput),
        ("demo@10", {"settings": {"lr": "1e-3,2e-3", "warmup": "1"}}, InvalidInput),
        ("demo@10", {"settings": {"lr": "1e-3,2e-3"}, "group": "a b"}, InvalidInput),
        ("demo@10", {"settings": {"lr": "1e-3,2e-3"}, "name": "a b"}, InvalidInput),
        ("demo@10", {"grid": {"lr": 5}}, InvalidInput),
        ("demo@10", {"grid": {"lr": ["1e-3", float("nan")]}}, InvalidInput),
        ("demo@10,demo@10", {}, InvalidInput),
        ("demo@10,demo@15", {}, NotFound),
        ("demo@10,other@0", {}, InvalidInput),
        ("demo@10", {"name": "cooler"}, NameTaken),
        ("demo@10", {"without_change": True}, InvalidInput),
    ],
)
def test_if_one_is_refused_nothing_is_created(
    sqlite_database: Database,
    store: Store,
    node: str,
    order: dict[str, Any],
    error: type[Exception],
) -> None:
    make_forked_tree(sqlite_database, store)
    make_tree(sqlite_database, store, name="other").node("main", 0, kind="root")
    before = row_counts(sqlite_database)
    with pytest.raises(error):
        create(sqlite_database, store, node, **order)
    assert row_counts(sqlite_database) == before


def test_a_node_whose_pack_is_cut_starts_none(sqlite_database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    cut_pack(sqlite_database, store, tree_nodes[2])
    before = row_counts(sqlite_database)
    with pytest.raises(CheckpointDamaged, match=f"Node {tree_nodes[2].id} cannot be restored"):
        create(sqlite_database, store, "demo@10,demo@20", settings={"lr": "1e-3"})
    assert row_counts(sqlite_database) == before


def cut_pack(database: Database, store: Store, node: Node) -> None:
    with database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest)
    (location,) = stored.locations.values()
    with open(store.describe(location.pack), "r+b") as file:
        file.truncate(location.offset + 1)


def test_without_its_change_a_node_has_the_settings_before(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    twenty, fork = tree_nodes[2], tree_nodes[4]
    (launch,) = create(sqlite_database, store, twenty.id, without_change=True)
    assert (launch.node_id, launch.overrides) == (twenty.id, {"lr": 0.01})
    (launch,) = create(sqlite_database, store, fork.id, without_change=True, name="as-parent")
    assert (launch.node_id, launch.overrides) == (tree_nodes[1].id, {})
    settings = {"lr": "0.5", "weight_decay": "0.1"}
    (launch,) = create(sqlite_database, store, twenty.id, without_change=True, settings=settings)
    assert launch.overrides == {"lr": 0.5, "weight_decay": 0.1}


def test_every_branch_counts_towards_the_limit_of_a_token(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    who = Actor("bot", "operator", "api", token_id="t" * 16, limit=2)

    def order(values: str) -> list[Launch]:
        return control.create_launches(
            sqlite_database, store, ForkOrder(["demo@10"], {"lr": values}), actor=who
        )

    with pytest.raises(RateLimited):
        order("1e-3,2e-3,3e-3")
    with sqlite_database.read() as connection:
        assert len(runs.list_branches(connection, tree_nodes[0].run_id)) == 2
        assert groups.of_run(connection, tree_nodes[0].run_id) == []


def test_an_actor_who_may_not_launch_is_refused(sqlite_database: Database, store: Store) -> None:
    make_forked_tree(sqlite_database, store)
    order = ForkOrder(["demo@10"], {"lr": "1e-3,2e-3"})
    before = row_counts(sqlite_database)
    with pytest.raises(Forbidden):
        control.create_launches(sqlite_database, store, order, actor=Actor("eve", "viewer", "web"))
    assert row_counts(sqlite_database) == before


@pytest.mark.parametrize("lr", ["1e-4,x2", "1e-4"])
def test_the_same_order_that_comes_twice_at_once_is_queued_once(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, lr: str
) -> None:
    make_forked_tree(database, store)
    order, order_id = ForkOrder(["demo@10"], {"lr": lr}), "0123456789abcdef"
    check, meanwhile = fan_out.check_branches, list[Launch]()

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(fan_out, "check_branches", check)
        meanwhile.extend(
            control.create_launches(database, store, order, actor="me", order_id=order_id)
        )
        return check(*arguments)

    monkeypatch.setattr(fan_out, "check_branches", overtaken)
    second = control.create_launches(database, store, order, actor="me", order_id=order_id)
    assert second == meanwhile and len(second) == lr.count(",") + 1
    assert control.create_launches(database, store, order, actor="me", order_id=order_id) == second

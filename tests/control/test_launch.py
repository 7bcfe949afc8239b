"""A launch is validated, verified and queued, or changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch as launch_module
from branchtrack.core.builtin_settings import BUILT_IN, FROZEN, MAX_STEPS
from branchtrack.core.overrides import WEIGHTS_ONLY
from branchtrack.db import nodes, runs, segments, tables
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.storage import thinning
from branchtrack.errors import (
    CheckpointThinned,
    InvalidInput,
    NameTaken,
    NotFound,
)
from tests.control.samples import row_counts
from tests.trees_for_tests import make_forked_tree, make_tree


def test_an_order_validates_verifies_and_queues(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    launch = control.create_launch(
        database, store, tree_nodes[1].id[:8], actor="me", settings={"lr": "5e-3"}, name="hot"
    )
    assert (launch.state, launch.overrides) == ("queued", {"lr": 5e-3})
    with database.read() as connection:
        assert nodes.get(connection, launch.fork_node_id).settings["lr"] == 5e-3
        assert segments.get(connection, launch.segment_id).status == "waiting"


def test_a_branch_that_is_not_named_gets_a_free_name(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    for expected in ("main-2", "main-3"):
        launch = control.create_launch(database, store, tree_nodes[1].id, actor="me")
        with database.read() as connection:
            branch = connection.execute(
                select(tables.branches.c.name).where(tables.branches.c.id == launch.branch_id)
            ).scalar_one()
        assert branch == expected


def test_a_node_at_the_last_step_leaves_nothing_to_train(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    last = tree.node("main", 40, settings={"max_steps": 40})
    before = row_counts(sqlite_database)
    with pytest.raises(InvalidInput, match="before step 40"):
        control.create_launch(sqlite_database, store, last.id, actor="me")
    assert row_counts(sqlite_database) == before


def test_a_node_at_the_last_step_goes_on_with_a_later_one(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    declared = [s.as_dict() for s in (*BUILT_IN, MAX_STEPS, FROZEN)]
    with sqlite_database.transaction() as connection:
        connection.execute(tables.segments.update().values(declared=declared))
    has = {"max_steps": 40, "lr_scheduler_type": "linear", "frozen": ""}
    last = tree.node("main", 40, settings=has)
    before = row_counts(sqlite_database)
    for wrong, field in (
        ({"max_steps": 60}, "horizon"),
        ({"max_steps": 60, "horizon": "extend", "frozen": "nothing"}, "frozen"),
        ({"max_steps": 60, "horizon": "extend", "frozen": "*"}, "frozen"),
    ):
        with pytest.raises(InvalidInput) as caught:
            control.create_launch(sqlite_database, store, last.id, actor="me", settings=wrong)
        assert (caught.value.field, row_counts(sqlite_database)) == (field, before)
    longer = {"max_steps": 60, "horizon": "extend"}
    launch = control.create_launch(sqlite_database, store, last.id, actor="me", settings=longer)
    with sqlite_database.read() as connection:
        fork = nodes.get(connection, launch.fork_node_id)
    assert (launch.overrides, fork.settings["max_steps"]) == (longer, 60)
    assert "horizon" not in fork.settings


def test_a_fork_of_weights_that_never_trained_stays_one(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    first = control.create_launch(
        sqlite_database, store, tree_nodes[1].id, actor="me", mode="weights"
    )
    again = control.create_launch(sqlite_database, store, first.fork_node_id, actor="me")
    with sqlite_database.read() as connection:
        fork = nodes.get(connection, again.fork_node_id)
    assert (again.mode, fork.restored) == ("weights", WEIGHTS_ONLY)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"node_ref": "ffffffff"}, NotFound),
        ({"name": "cooler"}, NameTaken),
        ({"name": "a b"}, InvalidInput),
        ({"name": ""}, InvalidInput),
        ({"settings": {"lr": "nan"}}, InvalidInput),
        ({"settings": {"warmup": "1"}}, InvalidInput),
        ({"mode": "magic"}, InvalidInput),
        ({"reason": "x" * 2001}, InvalidInput),
    ],
)
def test_a_bad_order_changes_nothing(
    sqlite_database: Database, store: Store, how: dict[str, Any], error: type[Exception]
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    before = row_counts(sqlite_database)
    with pytest.raises(error):
        control.create_launch(
            sqlite_database, store, **{"node_ref": tree_nodes[1].id, "actor": "me", **how}
        )
    assert row_counts(sqlite_database) == before


def test_launches_that_wait_are_listed_oldest_first(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    ordered = [
        control.create_launch(database, store, tree_nodes[0].id, actor="me") for _ in range(2)
    ]
    with database.read() as connection:
        assert [launch.id for launch in launches.unfinished(connection)] == [
            launch.id for launch in ordered
        ]


def test_a_node_that_is_thinned_while_it_is_read_is_not_ordered(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, (_, ten, *_) = make_forked_tree(database, store)
    verify = launch_module.verify_outline

    def thinned_after(*values: Any, **how: Any) -> Any:
        manifest = verify(*values, **how)
        with database.transaction() as connection:
            thinning.mark(connection, {ten.state_digest: "weights"})
        return manifest

    monkeypatch.setattr(launch_module.launch_checks, "startable", lambda *_: None)
    monkeypatch.setattr(launch_module, "verify_outline", thinned_after)
    with pytest.raises(CheckpointThinned, match="mode weights"):
        control.create_launch(database, store, ten.id, actor="ada", name="late")
    with database.read() as connection:
        names = [branch.name for branch in runs.list_branches(connection, tree.run.id)]
    assert "late" not in names

"""Deleting: who may, what goes along, what is refused, and how long the trash is kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import deletion
from branchtrack.control import launch as launch_module
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node
from branchtrack.db import integrity, nodes, runs, segments
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.tables import nodes as nodes_table
from branchtrack.errors import Forbidden, InvalidInput, NotFound
from tests.control.trials import samples
from tests.trees_for_tests import Tree, make_forked_tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def forked(database: Database, store: Store) -> Forked:
    """A tree that nothing trains: main, cooler from it, and coolest from cooler."""
    tree, line = make_forked_tree(database, store)
    tree.branch("coolest", line[5])
    tree.node("coolest", 20, line[5], kind="fork")
    for name in tree.branches:
        tree.end(name)
    return tree, line


def names(database: Database) -> list[str]:
    with database.read() as connection:
        run = runs.find_run(connection, "demo")
        listed = runs.list_branches(connection, run.id)
        assert integrity.of_database(connection) == []
    return [branch.name for branch in listed if branch.trashed_at is None]


def test_a_branch_goes_with_what_grew_from_it(database: Database, forked: Forked) -> None:
    with pytest.raises(InvalidInput, match="coolest") as refusal:
        control.delete(database, "demo/cooler", actor="ann")
    assert refusal.value.field == "with_children" and names(database) == list(forked[0].branches)
    done = control.delete(database, "demo/cooler", actor="ann", with_children=True)
    assert (done.name, done.nodes) == ("demo/cooler", 3)
    assert [branch.name for branch in done.dependents] == ["coolest"]
    assert names(database) == ["main"]


def test_a_leaf_goes_alone_and_comes_back(database: Database, forked: Forked) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    assert names(database) == ["main", "cooler"]
    done = control.restore(database, "demo/coolest", actor="ann")
    assert [branch.name for branch in done.branches] == ["coolest"]
    assert names(database) == ["main", "cooler", "coolest"]


def test_what_a_restored_branch_depends_on_comes_back_too(
    database: Database, forked: Forked
) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    control.delete(database, "demo/cooler", actor="ann")
    control.restore(database, "demo/coolest", actor="ann")
    assert names(database) == ["main", "cooler", "coolest"]


def test_one_order_is_undone_in_one(database: Database, forked: Forked) -> None:
    control.delete(database, "demo/cooler", actor="ann", with_children=True)
    control.restore(database, "demo/cooler", actor="ann")
    assert names(database) == ["main", "cooler", "coolest"]
    with pytest.raises(NotFound, match="It is empty"):
        control.restore(database, "demo/cooler", actor="ann")


def test_a_run_comes_back_whole(database: Database, forked: Forked) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    control.delete(database, "demo", actor="ann", reason="a mistake")
    with database.read() as connection, pytest.raises(NotFound, match="restore demo"):
        runs.find_run(connection, "demo")
    control.restore(database, "demo", actor="ann")
    # What was deleted before stays so.
    assert names(database) == ["main", "cooler"]


@pytest.mark.parametrize("ref", ["demo/main", "demo@30", "other", "demo/other"])
def test_what_cannot_be_deleted_is_refused(database: Database, forked: Forked, ref: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        control.delete(database, ref, actor="ann")
    assert names(database) == ["main", "cooler", "coolest"]


def test_what_trains_or_is_about_to_is_refused(
    database: Database, store: Store, forked: Forked
) -> None:
    tree, line = forked
    launch = control.create_launch(database, store, line[5].id, actor="ann", name="next")
    for ref in ("demo/next", "demo"):
        with pytest.raises(InvalidInput, match=f"branchtrack cancel {launch.id}"):
            control.delete(database, ref, actor="ann")
    with database.transaction() as connection:
        # Its process is taken for dead, but the launch would still be claimed.
        segments.end(connection, launch.segment_id, "failed", actor="test")
    with pytest.raises(InvalidInput, match=f"branchtrack cancel {launch.id}"):
        control.delete(database, "demo/next", actor="ann")
    control.cancel_launch(database, launch.id, actor="ann")
    tree.branch("live", line[5])
    with pytest.raises(InvalidInput, match="branchtrack stop demo/live"):
        control.delete(database, "demo/live", actor="ann")
    assert "live" in names(database)


def test_what_a_trial_trains_is_refused_with_the_trial(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store, repeats=3)
    with pytest.raises(InvalidInput, match=f"trials {trial.id} --cancel"):
        control.delete(sqlite_database, f"demo/{samples.branches_of(trial)[0]}", actor="ann")


@pytest.mark.parametrize("role", ["viewer", "agent"])
def test_only_some_may_delete(database: Database, forked: Forked, role: str) -> None:
    actor = Actor("x", role, "api", "t" * 16)
    with pytest.raises(Forbidden):
        control.delete(database, "demo/coolest", actor=actor, reason="r")
    control.delete(database, "demo/coolest", actor="ann")
    with pytest.raises(Forbidden):
        control.restore(database, "demo/coolest", actor=actor, reason="r")


def test_only_an_admin_purges_before_the_time(database: Database, forked: Forked) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    with database.read() as connection:
        entry = deletion.find(connection, "demo/coolest")
    with pytest.raises(Forbidden):
        deletion.purge(database, entry, actor=Actor("x", "operator", "api", "t" * 16))
    deletion.purge(database, entry, actor="ann")
    assert names(database) == ["main", "cooler"]
    with pytest.raises(NotFound):
        deletion.purge(database, entry, actor="ann")


def test_a_purge_takes_along_what_depends_on_it(database: Database, forked: Forked) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    control.delete(database, "demo/cooler", actor="ann")
    with database.read() as connection:
        entry = deletion.find(connection, "demo/cooler")
    deletion.purge(database, entry, actor="ann")
    with database.read() as connection:
        assert trash.entries(connection) == []
    assert names(database) == ["main"]


def test_what_was_not_deleted_is_never_purged(database: Database, forked: Forked) -> None:
    tree, line = forked
    control.delete(database, "demo/coolest", actor="ann")
    with database.transaction() as connection:
        entry = deletion.find(connection, "demo/coolest")
        head = runs.get_branch(connection, tree.branches["coolest"].id).head_id
        # As if a merge had been committed at the same moment.
        main = nodes_table.update().where(nodes_table.c.id == line[3].id)
        connection.execute(main.values(merge_parent_id=head))
    with pytest.raises(InvalidInput, match="were not deleted: demo/main"):
        deletion.purge(database, entry, actor="ann")
    with database.read() as connection:
        assert [item.name for item in trash.entries(connection)] == ["demo/coolest"]


def test_nothing_grows_from_what_was_deleted_meanwhile(
    database: Database, store: Store, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = launch_module.check_order

    def deleted_after(*values: Any, **how: Any) -> Any:
        checked = check(*values, **how)
        control.delete(database, "demo/coolest", actor="ann")
        return checked

    monkeypatch.setattr(launch_module, "check_order", deleted_after)
    with pytest.raises(NotFound, match="restore demo/coolest"):
        control.create_launch(database, store, "demo/coolest", actor="ann", name="late")
    assert "late" not in names(database)


def test_the_trash_is_kept_for_its_days(
    database: Database, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    with database.read() as connection:
        entry = deletion.find(connection, "demo/coolest")
    assert trash.due(entry) == pytest.approx(time.time() + 30 * 86_400, abs=600)
    assert deletion.purge_due(database, actor="ann") == []
    monkeypatch.setenv("BRANCHTRACK_TRASH_DAYS", "0")
    assert [entry.name for entry in deletion.purge_due(database, actor="ann")] == ["demo/coolest"]
    assert names(database) == ["main", "cooler"]


@pytest.mark.parametrize("days", ["soon", "-1", "nan", "inf", "1e9"])
def test_a_time_that_is_none_is_refused(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHTRACK_TRASH_DAYS", days)
    with pytest.raises(InvalidInput, match="BRANCHTRACK_TRASH_DAYS"):
        trash.trash_days()


def test_the_output_of_launches_goes_with_them(
    database: Database, store: Store, forked: Forked, tmp_path: Path
) -> None:
    launch = control.create_launch(database, store, forked[1][5].id, actor="ann", name="next")
    log = tmp_path / "next.log"
    log.write_text("loss 1")
    with database.transaction() as connection:
        for state in ("starting", "running"):
            launches.move(connection, launch.id, state, "worker", log=str(log))
        launches.move(connection, launch.id, "ended", "worker")
    with database.transaction() as connection:
        segments.end(connection, launch.segment_id, "failed", actor="test")
    control.delete(database, "demo/next", actor="ann")
    with database.read() as connection:
        entry = deletion.find(connection, "demo/next")
    deletion.purge(database, entry, actor="ann")
    assert not log.exists()


def test_a_name_in_the_trash_is_said_to_be_there(database: Database, forked: Forked) -> None:
    control.delete(database, "demo/coolest", actor="ann")
    with database.read() as connection, pytest.raises(NotFound, match="restore demo/coolest"):
        nodes.find(connection, "demo/coolest")

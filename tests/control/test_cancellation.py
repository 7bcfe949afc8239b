"""A launch is cancelled by whoever may, and is never called cancelled before it has ended."""

from __future__ import annotations

import threading

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.errors import Forbidden, InvalidInput, NotAnswered, NotFound
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def launch(database: Database, store: Store) -> Launch:
    tree, made = make_forked_tree(database, store)
    return control.create_launch(database, store, made[1].id, actor="ann", name="hot")


def start(database: Database, launch: Launch) -> None:
    with database.transaction() as connection:
        queue.claim(connection, "w", launch.id)
        launches.move(connection, launch.id, "running", "w", pid=1)


def test_a_launch_that_waits_is_cancelled_at_once(database: Database, launch: Launch) -> None:
    ended = control.cancel_launch(database, launch.id[:8], actor="bob")
    assert (ended.state, ended.cancel) == ("cancelled", "bob")
    assert control.wait_for_end(database, launch.id, 1).state == "cancelled"
    with pytest.raises(InvalidInput, match="too late"):
        control.cancel_launch(database, launch.id, actor="bob")


def test_one_with_a_process_is_running_until_that_has_ended(
    database: Database, launch: Launch
) -> None:
    start(database, launch)
    asked = control.cancel_launch(database, launch.id, actor="bob")
    assert (asked.state, asked.cancel) == ("running", "bob")
    with pytest.raises(NotAnswered, match="still|not ended"):
        control.wait_for_end(database, launch.id, 0.01)

    def end() -> None:
        with database.transaction() as connection:
            launches.move(connection, launch.id, "cancelled", "w")

    ending = threading.Timer(0.1, end)
    ending.start()
    assert control.wait_for_end(database, launch.id, 30).state == "cancelled"
    ending.join()


def test_who_may_not_launch_may_not_cancel(database: Database, launch: Launch) -> None:
    for actor in (
        Actor("eve", "viewer"),
        Actor("bot", "agent", "api", "t1"),
        Actor("bot", "operator", "api", "t2", only=["lr"]),
    ):
        with pytest.raises(Forbidden):
            control.cancel_launch(database, launch.id, actor=actor)
    with pytest.raises(NotFound):
        control.cancel_launch(database, "0000", actor="bob")
    with database.read() as connection:
        assert launches.get(connection, launch.id).state == "queued"

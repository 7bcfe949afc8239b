"""The queue as people see it: places, reasons, progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from branchtrack import control
from branchtrack.analysis import queue as queues
from branchtrack.analysis.queue import Queue, QueueLine
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Launch, WorkerRow
from branchtrack.db import integrity, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue, workers
from tests.trees_for_tests import SETTINGS, make_forked_tree

Order = Callable[..., Launch]


@pytest.fixture
def order(database: Database, store: Store) -> Order:
    tree, made = make_forked_tree(database, store)

    def make(name: str, **how: Any) -> Launch:
        return control.create_launch(database, store, made[1].id, actor="ann", name=name, **how)

    return make


def read(database: Database) -> Queue:
    with database.read() as connection:
        return queues.read(connection, time.time())


def beat(database: Database, name: str, ago: float = 0.0, **facts: Any) -> None:
    shape = {"slots": 1, "labels": [], **facts}
    with database.transaction() as connection:
        now = time.time() - ago
        row = WorkerRow(name, "box", devices=[], started_at=now, heartbeat_at=now, **shape)
        workers.beat(connection, row)


def start(database: Database, launch: Launch, worker: str = "w") -> None:
    with database.transaction() as connection:
        queue.claim(connection, worker, launch.id)
        launches.move(connection, launch.id, "running", worker, pid=1)


def about(database: Database) -> dict[str, str]:
    return {line.branch: line.about for line in read(database).waiting}


def test_places_are_those_of_the_order_in_which_launches_start(
    database: Database, order: Order
) -> None:
    for name, priority in (("a", None), ("b", 3), ("c", None)):
        order(name, priority=priority)
    view = read(database)
    assert [(line.position, line.branch) for line in view.waiting] == [(1, "b"), (2, "a"), (3, "c")]
    assert (view.total, list(view.running), list(view.ended)) == (3, [], [])


def test_the_reason_why_one_waits_is_given(database: Database, order: Order) -> None:
    order("plain")
    order("labelled", labels=["gpu"])
    assert set(about(database).values()) == {"No worker looks for launches."}
    beat(database, "silent", ago=60, labels=["gpu"])
    beat(database, "single", slots=0)
    assert set(about(database).values()) == {"No worker looks for launches."}
    beat(database, "w")
    assert about(database) == {
        "plain": "It starts in a moment.",
        "labelled": "No worker has the labels gpu.",
    }
    start(database, order("busy"))
    assert about(database)["plain"] == "Every slot is taken."


def test_one_that_trains_has_a_rate_and_an_expected_end(database: Database, order: Order) -> None:
    launch = order("side")
    start(database, launch)
    (line,) = read(database).running
    assert (line.status, line.rate, line.expected_end, line.is_training) == (
        "starting",
        None,
        None,
        False,
    )
    with database.transaction() as connection:
        segments.take(
            connection,
            launch.segment_id,
            actor="t",
            declared=[],
            settings=SETTINGS,
            max_steps=100,
        )
        segments.heartbeat(connection, launch.segment_id, 60, 4.0, SETTINGS)
    (line,) = read(database).running
    assert (line.status, line.rate) == ("running", 4.0)
    assert line.expected_end is not None and 5 < line.expected_end - time.time() <= 10
    told = queues.as_json(read(database))["launches"][0]
    assert (told["step"], told["max_steps"], told["rate"], told["position"]) == (60, 100, 4.0, None)
    assert told["expected_end"].endswith("Z")


def test_one_that_has_ended_is_told_as_it_ended(database: Database, order: Order) -> None:
    launch = order("side")
    control.cancel_launch(database, launch.id, actor="bob")
    view = read(database)
    assert [(line.status, line.segment) for line in view.ended] == [("cancelled", None)]
    assert view.total == 0


def test_one_launch_is_told_wherever_it_is(
    database: Database, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = order("first"), order("second")

    def line_of(launch: Launch) -> QueueLine:
        with database.read() as connection:
            return queues.line_of(connection, launch, time.time())

    assert line_of(second).position == 2
    monkeypatch.setattr(queues, "MOST", 1)
    assert line_of(second).position is None
    assert read(database).total == 2
    assert line_of(first).position == 1


def test_a_branch_that_was_renamed_is_called_by_its_name_now(
    database: Database, order: Order
) -> None:
    launch = order("racer")
    start(database, launch)
    control.label(database, "demo/racer", actor="ann", name="renamed")
    (line,) = read(database).running
    assert (line.branch, queues.line_as_json(line)["branch"]) == ("renamed", "renamed")
    with database.read() as connection:
        assert queues.line_of(connection, launch, time.time()).branch == "renamed"
        assert integrity.of_database(connection) == []

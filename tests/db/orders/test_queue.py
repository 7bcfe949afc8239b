"""Launches are claimed once, in order; a cancelled one leaves nothing if it has not trained."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Launch, Node
from branchtrack.db import audit, integrity, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue, withdrawals
from branchtrack.errors import IllegalTransition, InvalidInput
from tests.trees_for_tests import SETTINGS, Tree, make_forked_tree

Forked = tuple[Tree, list[Node]]
Order = Callable[..., Launch]


@pytest.fixture
def forked(database: Database, store: Store) -> Forked:
    return make_forked_tree(database, store)


@pytest.fixture
def order(forked: Forked) -> Order:
    """Order a launch from a node of the tree."""
    tree, made = forked

    def make(name: str, **how: Any) -> Launch:
        return control.create_launch(
            tree.database, tree.store, made[1].id, actor="ann", name=name, **how
        )

    return make


def claimed(database: Database, **how: Any) -> list[str]:
    """The names of the branches that a worker claims one after another."""
    names = []
    while True:
        with database.transaction() as connection:
            launch = queue.claim(connection, "w", **how)
        if launch is None:
            return names
        names.append(launch.branch or "")


def test_the_highest_priority_is_claimed_first_then_the_oldest(
    database: Database, order: Order
) -> None:
    order("a")
    order("b", priority=-1)
    order("c", priority=5)
    order("d")
    order("e", priority=5)
    assert claimed(database) == ["c", "e", "a", "d", "b"]


def test_a_launch_with_labels_waits_for_a_worker_that_has_them_all(
    database: Database, order: Order
) -> None:
    order("both", labels=["gpu", "big"], priority=1)
    order("one", labels=["gpu"])
    order("none")
    with database.read() as connection:
        assert queue.has_next(connection)
    assert claimed(database) == ["none"]
    assert claimed(database, labels=["gpu"]) == ["one"]
    with database.read() as connection:
        assert not queue.has_next(connection, labels=["gpu"])
    assert claimed(database, labels=["big", "gpu", "more"]) == ["both"]


def test_a_launch_that_is_named_is_claimed_whatever_its_labels(
    database: Database, order: Order
) -> None:
    order("first")
    launch = order("named", labels=["gpu"])
    with database.transaction() as connection:
        mine = queue.claim(connection, "w", launch.id)
    assert mine is not None and mine.id == launch.id


@pytest.mark.parametrize("how", [{"priority": 1001}, {"priority": "1"}, {"labels": ["a b"]}])
def test_a_wrong_priority_or_label_changes_nothing(
    database: Database, order: Order, how: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        order("wrong", **how)
    assert claimed(database) == []


def test_of_many_workers_that_claim_at_once_each_launch_goes_to_one(
    database: Database, order: Order
) -> None:
    ordered = [order(f"b{number}").id for number in range(6)]
    met, got = Barrier(4, timeout=60), list[tuple[str, str]]()

    def work(name: str) -> None:
        met.wait()
        while True:
            with database.transaction() as connection:
                launch = queue.claim(connection, name)
            if launch is not None:
                got.append((launch.id, launch.worker or ""))
                continue
            with database.read() as connection:
                if not queue.has_next(connection):
                    return

    threads = [Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(launch for launch, _ in got) == sorted(ordered)
    with database.read() as connection:
        assert {(row.id, row.worker) for row in launches.unfinished(connection)} == set(got)


def test_a_waiting_launch_that_is_cancelled_frees_the_name_of_its_branch(
    database: Database, order: Order, forked: Forked
) -> None:
    launch = order("hot")
    with database.transaction() as connection:
        ended = queue.cancel(connection, launch.id, "bob")
    assert ended is not None
    assert (ended.state, ended.cancel) == ("cancelled", "bob")
    assert ended.error == "Cancelled by bob before it trained."
    with database.read() as connection:
        assert withdrawals.is_withdrawn(connection, ended)
        assert "hot" not in {b.name for b in runs.list_branches(connection, launch.run_id)}
        assert audit.unlogged_changes(connection, launch.run_id) == []
        assert audit.first_broken_seq(connection, launch.run_id) is None
    assert claimed(database) == []
    order("hot")


def test_a_launch_with_a_process_is_marked_once_and_its_event_says_by_whom(
    database: Database, order: Order
) -> None:
    launch = order("hot")
    assert claimed(database) == ["hot"]
    for actor in ("bob", "eve"):
        with database.transaction() as connection:
            marked = queue.cancel(connection, launch.id, actor)
        assert marked is not None and (marked.state, marked.cancel) == ("starting", "bob")
    with database.transaction() as connection:
        assert queue.cancelled_among(connection, [launch.id]) == []
        launches.move(connection, launch.id, "running", "w", pid=1)
    with database.read() as connection:
        assert [one.id for one in queue.cancelled_among(connection, [launch.id])] == [launch.id]
        events = [e for e in audit.since(connection, launch.run_id) if e.ref == launch.id]
        assert [e.actor for e in events if e.state == audit.ASKED_TO_CANCEL] == ["bob"]
        assert audit.unlogged_changes(connection, launch.run_id) == []


def test_it_is_too_late_to_cancel_a_launch_that_has_ended(database: Database, order: Order) -> None:
    launch = order("hot")
    with database.transaction() as connection:
        launches.move(connection, launch.id, "failed", "w", error="no")
        assert queue.cancel(connection, launch.id, "bob") is None


def test_a_launch_that_is_put_back_is_claimed_again_unless_it_is_cancelled(
    database: Database, order: Order
) -> None:
    again, unwanted = order("again"), order("unwanted")
    assert claimed(database, device="0") == ["again", "unwanted"]
    with database.read() as connection:
        assert queue.devices_in_use(connection, "w") == []
    with database.transaction() as connection:
        queue.cancel(connection, unwanted.id, "bob")
        for launch in (again, unwanted):
            queue.put_back(connection, launch, "w")
        with pytest.raises(IllegalTransition):
            queue.put_back(connection, again, "another")
    with database.read() as connection:
        rows = [launches.get(connection, launch.id) for launch in (again, unwanted)]
        assert [(row.state, row.worker, row.device) for row in rows] == [
            ("queued", None, None),
            ("cancelled", "w", "0"),
        ]
        assert withdrawals.is_withdrawn(connection, rows[1])
    assert claimed(database) == ["again"]


def test_the_devices_in_use_are_those_of_one_host(database: Database, order: Order) -> None:
    for name, worker in (("a", "box:1:1"), ("b", "box:2:1"), ("c", "box2:1:1"), ("d", "box:3:1")):
        launch = order(name)
        device = None if name == "d" else f"gpu-{name}"
        with database.transaction() as connection:
            queue.claim(connection, worker, launch.id, device=device)
    with database.read() as connection:
        assert sorted(queue.devices_in_use(connection, "box")) == ["gpu-a", "gpu-b"]


def test_a_move_of_a_former_owner_fails(database: Database, order: Order) -> None:
    launch = order("hot")
    with database.transaction() as connection:
        first = queue.claim(connection, "old", launch.id)
        assert first is not None
        assert queue.take_over(connection, first, "new")
        assert not queue.take_over(connection, first, "newer")
        with pytest.raises(IllegalTransition):
            launches.move(connection, launch.id, "running", "old", owner="old", pid=1)
        assert launches.move(connection, launch.id, "running", "new", owner="new", pid=1)


def test_every_row_of_a_cancelled_launch_has_its_seal(
    database: Database, order: Order, forked: Forked
) -> None:
    trained, waits = order("trained"), order("waits")
    assert len(claimed(database)) == 2
    with database.transaction() as connection:
        launches.move(connection, trained.id, "running", "w", pid=1)
        segments.take(
            connection,
            trained.segment_id,
            actor="w",
            declared=[],
            settings=SETTINGS,
            max_steps=10,
        )
        for launch in (trained, waits):
            queue.cancel(connection, launch.id, "bob")
        queue.put_back(connection, waits, "w")
    with database.read() as connection:
        assert integrity.of_run(connection, trained.run_id) == []


def test_two_workers_of_a_host_choose_their_devices_one_after_the_other(
    database: Database, order: Order
) -> None:
    ordered = [order("a"), order("b")]
    chosen, both = list[str](), Barrier(2)

    def claim_with_device(launch: Launch) -> None:
        both.wait()
        with database.transaction() as connection:
            in_use = queue.devices_in_use(connection, "box")
            device = next(name for name in ("gpu-0", "gpu-1") if name not in in_use)
            queue.claim(connection, f"box:{device}:1", launch.id, device=device)
            chosen.append(device)

    threads = [Thread(target=claim_with_device, args=(launch,)) for launch in ordered]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chosen) == ["gpu-0", "gpu-1"]

"""A recording becomes requests once, all or none, under the name of whoever replays it."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node, Request
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import Forbidden, InvalidInput, NotLive, RateLimited
from tests.recordings import SET_LR, at, recording
from tests.trees_for_tests import Tree, make_tree

RECORDED = recording(at(5), at(5, kind="set", values={"lr": "x0.5"}), at(9), run="a", branch="b")


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run whose ``main`` this process trains."""
    return make_tree(database, store)


def send(tree: Tree, what: Any = RECORDED, **how: Any) -> Any:
    return control.send_replay(tree.database, "demo", what, **{"actor": "ann", **how})


def kept(tree: Tree) -> list[Request]:
    with tree.database.read() as connection:
        return requests.list_of_run(connection, tree.run.id)[::-1]


def test_each_change_becomes_a_scheduled_request(tree: Tree) -> None:
    sent = send(tree)
    rows = kept(tree)
    assert [entry.request for entry in sent.sent] == rows
    assert [row.state for row in rows] == ["accepted"] * 3
    assert [row.conditions for row in rows] == [{"at_step": 5}, {"at_step": 5}, {"at_step": 9}]
    assert (rows[0].actor, rows[0].reason) == ("ann", "replayed from a/b")
    assert rows[1].requested == {"values": {"lr": "x0.5"}}
    assert control.poll(tree.database, tree.segment("main").id) == rows


def test_a_recording_that_is_sent_again_is_not_requested_again(tree: Tree) -> None:
    first = send(tree, reason="let us see")
    assert send(tree, actor="ben") == first and len(kept(tree)) == 3
    assert kept(tree)[0].reason == "let us see (replayed from a/b)"
    assert len(send(tree, recording(at(7))).sent) == 1 and len(kept(tree)) == 4


def test_two_people_who_send_it_at_once_request_it_once(tree: Tree) -> None:
    barrier, sent = Barrier(2), []

    def work() -> None:
        barrier.wait()
        sent.append(send(tree))

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent[0] == sent[1] and len(kept(tree)) == 3


def test_if_one_change_is_refused_none_is_sent(tree: Tree) -> None:
    with pytest.raises(InvalidInput, match="Line 3: There is no setting 'speed'"):
        send(tree, recording(at(5), at(6, kind="set", values={"speed": 1}), at(7)))
    assert kept(tree) == []


def test_a_dry_run_requests_nothing(tree: Tree) -> None:
    sent = send(tree, dry_run=True)
    assert [entry.request for entry in sent.sent] == [None] * 3 and kept(tree) == []


def test_whoever_may_not_ask_for_all_asks_for_nothing(tree: Tree) -> None:
    few = Actor("few", "operator", "api", "t" * 16, ["lr"], limit=2)
    with pytest.raises(RateLimited):
        send(tree, actor=few)
    decay = recording(at(5), at(6, kind="set", values={"weight_decay": 0.1}))
    with pytest.raises(Forbidden):
        send(tree, decay, actor=few)
    with pytest.raises(Forbidden):
        send(tree, actor=Actor("eve", "viewer", "api", "v" * 16))
    assert kept(tree) == []


def test_nothing_is_sent_where_nothing_trains(tree: Tree) -> None:
    tree.end("main")
    with pytest.raises(NotLive):
        send(tree)


@pytest.fixture
def root(tree: Tree) -> Node:
    """The root of the run, whose training has ended after 10 steps."""
    node = tree.node("main", 0, kind="root", settings={"max_steps": 1000})
    tree.end("main")
    return node


def test_a_launch_has_its_requests_before_its_process_begins(tree: Tree, root: Node) -> None:
    launch, sent = control.launch_replay(
        tree.database, tree.store, root.id, RECORDED, actor="ann", name="again"
    )
    rows = control.poll(tree.database, launch.segment_id)
    assert [entry.request for entry in sent.sent] == rows and len(rows) == 3
    assert launch.branch == "again" and launch.reason == "replayed from a/b"
    assert control.expire_hanging(tree.database, tree.run.id, "me") == 0, "they may yet be answered"
    control.cancel(tree.database, rows[0].id, actor="ann")
    (first, *others) = kept(tree)
    assert (first.state, first.cancel, {row.state for row in others}) == (
        "accepted",
        "ann",
        {"accepted"},
    )


def test_requests_to_a_process_that_never_began_expire(tree: Tree, root: Node) -> None:
    launch, _sent = control.launch_replay(tree.database, tree.store, root.id, RECORDED, actor="ann")
    with tree.database.transaction() as connection:
        segments.end(connection, launch.segment_id, "failed", actor="me")
    assert control.expire_hanging(tree.database, tree.run.id, "me") == 3
    assert {row.state for row in kept(tree)} == {"expired"}


def test_a_launch_that_does_not_fit_is_not_ordered(tree: Tree, root: Node) -> None:
    bad = recording(at(5), {"at": {"step": 2000}, **SET_LR})
    for check in (
        lambda: control.launch_replay(tree.database, tree.store, root.id, bad, actor="ann"),
        lambda: control.check_replay(tree.database, root.id, bad),
    ):
        with pytest.raises(InvalidInput, match="Line 3: at_step"):
            check()
    assert len(control.check_replay(tree.database, root.id, RECORDED).sent) == 3
    assert kept(tree) == []

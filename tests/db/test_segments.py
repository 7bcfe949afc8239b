"""A segment is trained by one process and ends once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from branchtrack.checkpoints.packs import Store
from branchtrack.db import audit, seals, segments, tables
from branchtrack.db.engine import Database
from branchtrack.errors import BranchTaken, IllegalTransition, NotFound
from tests.trees_for_tests import DECLARED, SETTINGS, Tree, make_tree
from tests.web import seeds


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run that trains."""
    return make_tree(database, store)


def test_one_process_alone_takes_a_segment(tree: Tree) -> None:
    tree.branch("other", train=False)
    segment = tree.segment("other").id

    def take() -> bool:
        try:
            with tree.database.transaction() as connection:
                segments.take(
                    connection,
                    segment,
                    actor="x",
                    declared=DECLARED,
                    settings=SETTINGS,
                    max_steps=None,
                )
        except IllegalTransition:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: take(), range(8))) == [False] * 7 + [True]


def test_a_segment_ends_once(tree: Tree) -> None:
    segment = tree.segment("main").id
    with tree.database.transaction() as connection:
        assert segments.end(connection, segment, "failed", actor="x", error="boom")
        assert not segments.end(connection, segment, "finished", actor="x")
        assert segments.get(connection, segment).status == "failed"


def test_a_segment_that_is_there_already_is_followed_in_order(tree: Tree) -> None:
    first = tree.segment("main")
    node = tree.node("main", 10)
    branch = tree.branches["main"]
    with tree.database.transaction() as connection:
        after = segments.follow(connection, branch, first, node, actor="me")
        assert (after.position, after.status, after.step) == (1, "waiting", 10)
        assert segments.get(connection, first.id).status == "failed"
        with pytest.raises(BranchTaken):
            segments.follow(connection, branch, first, node, actor="me")


def test_a_heartbeat_changes_nothing_of_a_segment_that_has_ended(tree: Tree) -> None:
    segment = tree.segment("main").id
    with tree.database.transaction() as connection:
        segments.heartbeat(connection, segment, 7, 2.5, {"lr": 1.0})
        assert segments.get(connection, segment).settings == {"lr": 1.0}
        segments.end(connection, segment, "finished", actor="me")
        segments.heartbeat(connection, segment, 9, 2.5, {"lr": 2.0})
        assert segments.get(connection, segment).step == 7
        assert list(seals.broken(connection, tables.segments)) == []


def test_holding_twice_is_one_line_of_the_log(tree: Tree) -> None:
    segment = tree.segment("main").id
    with tree.database.transaction() as connection:
        last = audit.last_id(connection, tree.run.id)
        for paused in (True, True, False, False):
            segments.hold(connection, segment, paused=paused, step=1, actor="me")
        states = [event.state for event in audit.newest(connection, tree.run.id, 2)]
        assert audit.last_id(connection, tree.run.id) == last + 2
    assert states == ["paused", "running"]


def test_the_updates_of_a_run_are_those_of_all_its_branches(tree: Tree) -> None:
    node = tree.node("main", 10)
    tree.node("main", 30, node)
    tree.branch("side", node)
    tree.node("side", 15, node)
    with tree.database.read() as connection:
        assert segments.trained_steps(connection, tree.run.id) == 30 + 5
        assert segments.trained_steps(connection, "none") == 0


def test_the_process_of_this_machine_is_found_by_what_it_took_last(tree: Tree) -> None:
    segment = tree.segment("main")
    assert segment.started_at is not None
    with tree.database.read() as connection:
        assert segments.of_process(connection, os.getpid(), segment.started_at) == segment
        assert segments.of_process(connection, os.getpid(), segment.started_at + 1) is None
        with pytest.raises(NotFound):
            segments.get(connection, "none")


def test_what_ran_before_is_looked_for_by_processes_and_not_by_nodes(
    sqlite_database: Database, store: Store
) -> None:
    grower = seeds.Grower(sqlite_database, store, "long")
    main = grower.line("main", 1000)
    head = main.commit("root", 0)
    for step in range(1, 40):
        head = main.commit("checkpoint", step)
    fork = grower.fork(head, "other", lr=1e-3)
    for step in range(41, 60):
        fork.commit("checkpoint", step)
    assert fork.head is not None
    with sqlite_database.transaction() as connection:
        assert segments.code_before(connection, fork.head.id) is None
        segments.set_code(connection, main.segment.id, {"commit": "abc"})
    made: list[str] = []
    with sqlite_database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *about: made.append(about[2]))
        assert segments.code_before(connection, fork.head.id) == {"commit": "abc"}
    assert sum("segments.code" in text for text in made) == 2

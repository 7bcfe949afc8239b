"""The event log: numbered without gaps, chained, whole under concurrent writers."""

from __future__ import annotations

import subprocess
import sys
import time
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import event, select, text

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db import audit, seals
from branchtrack.db.engine import Database
from branchtrack.db.tables import events, runs
from tests.trees_for_tests import Tree, make_tree

_WRITER = """
import sys
import time
from branchtrack import config
from branchtrack.db import audit, schema
database = schema.open_database(config.load())
for count in range(20):
    with database.transaction() as connection:
        audit.append(connection, sys.argv[1], kind="run", ref=sys.argv[1], state="x",
                     actor=sys.argv[2], payload={"count": count, "lr": 0.1 + 0.2})
"""


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run with one branch."""
    return make_tree(database, store)


def append(tree: Tree, actor: str) -> None:
    with tree.database.transaction() as connection:
        audit.append(
            connection,
            tree.run.id,
            kind="run",
            ref=tree.run.id,
            state="x",
            actor=actor,
            payload={"nan": float("nan"), "text": "é \u2028", "nested": {"b": 1, "a": [1.5]}},
        )


def check_whole(tree: Tree) -> list[int]:
    with tree.database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None
        return [event.seq for event in audit.since(connection, tree.run.id)]


def test_events_are_numbered_from_one_without_gaps(tree: Tree) -> None:
    before = len(check_whole(tree))
    for _ in range(3):
        append(tree, "a")
    assert check_whole(tree) == list(range(1, before + 4))


def test_twenty_threads_keep_the_chain_whole(tree: Tree) -> None:
    before = len(check_whole(tree))
    threads = [Thread(target=append, args=(tree, str(place))) for place in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(check_whole(tree)) == before + 20


def test_two_writers_that_both_refer_to_the_run_first_do_not_wait_for_each_other(
    tree: Tree,
) -> None:
    met, failed = Barrier(2, timeout=60), []

    def work() -> None:
        try:
            with tree.database.transaction() as connection:
                if not tree.database.is_sqlite:
                    # What inserting a row that refers to the run does, on PostgreSQL.
                    kept = select(runs.c.id).with_for_update(read=True, key_share=True)
                    connection.execute(kept)
                    met.wait()
                audit.append(connection, tree.run.id, kind="node", ref="x", state="new", actor="me")
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_two_processes_keep_the_chain_whole(tree: Tree, config: Config) -> None:
    before = len(check_whole(tree))
    command = [sys.executable, "-c", _WRITER, tree.run.id]
    writers = [
        subprocess.Popen([*command, name], env=config.environment()) for name in ("one", "two")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(check_whole(tree)) == before + 40


@pytest.mark.parametrize("change", [{"actor": "mallory"}, {"payload": {}}, {"time": 1.0}])
def test_a_changed_event_is_found(tree: Tree, change: dict[str, object]) -> None:
    append(tree, "a")
    with tree.database.transaction() as connection:
        connection.execute(events.update().where(events.c.seq == 2).values(**change))
    with tree.database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) == 2


def test_a_removed_event_is_found(tree: Tree) -> None:
    append(tree, "a")
    with tree.database.transaction() as connection:
        connection.execute(events.delete().where(events.c.seq == 2))
    with tree.database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) == 2


def test_a_reader_goes_on_behind_its_cursor(tree: Tree) -> None:
    with tree.database.read() as connection:
        cursor = audit.last_id(connection, tree.run.id)
    append(tree, "later")
    with tree.database.read() as connection:
        assert [event.actor for event in audit.since(connection, None, cursor)] == ["later"]


def test_the_newest_event_of_a_run_is_found_by_its_name(tree: Tree, store: Store) -> None:
    with tree.database.read() as connection:
        cursor = audit.last_id(connection, tree.run.id)
    make_tree(tree.database, store, "other")
    with tree.database.read() as connection:
        assert audit.last_id_of(connection, tree.run.name) == cursor
        assert audit.last_id_of(connection, "other") == audit.last_id(connection) > cursor
        assert audit.last_id_of(connection, "nosuch") == 0


def test_a_log_whose_end_was_cut_off_is_found(tree: Tree) -> None:
    node = tree.node("main", 0, kind="root")
    request = control.submit(tree.database, "demo", {"kind": "checkpoint"}, actor="me")
    control.cancel(tree.database, request.id, actor="me")
    check_whole(tree)

    def cut(count: int) -> list[tuple[str, str]]:
        with tree.database.transaction() as connection:
            last = audit.newest(connection, tree.run.id, count)
            connection.execute(events.delete().where(events.c.id.in_([one.id for one in last])))
            return audit.unlogged_changes(connection, tree.run.id)

    with tree.database.read() as connection:
        assert audit.unlogged_changes(connection, tree.run.id) == []
    run = ("run", tree.run.id)
    assert cut(2) == [("request", request.id), run]
    assert cut(2) == [("request", request.id), ("node", node.id), run]
    check_whole(tree)


def test_a_missing_last_event_of_any_kind_is_found(tree: Tree) -> None:
    append(tree, "certifier")
    with tree.database.transaction() as connection:
        assert audit.unlogged_changes(connection, tree.run.id) == []
        (last,) = audit.newest(connection, tree.run.id, 1)
        connection.execute(events.delete().where(events.c.id == last.id))
        assert audit.unlogged_changes(connection, tree.run.id) == [("run", tree.run.id)]
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_each_event_has_the_hash_that_the_one_before_leads_to(tree: Tree) -> None:
    tree.node("main", 0, kind="root")
    with tree.database.read() as connection:
        rows = sorted(
            seals.raw(connection, events, tree.run.id, "run_id"), key=lambda row: row["seq"]
        )
        links = audit.links(connection, tree.run.id)
    previous = audit.GENESIS
    for row, link in zip(rows, links, strict=True):
        assert audit.link(previous, row) == row["hash"] == link
        previous = link


def statements_of_two_transactions(tree: Tree) -> list[str]:
    """What adding three events each in two transactions executes."""
    statements: list[str] = []

    def note(*about: Any) -> None:
        statements.append(about[2])

    event.listen(tree.database.engine, "before_cursor_execute", note)
    for _ in range(2):
        with tree.database.transaction() as connection:
            for _ in range(3):
                audit.append(
                    connection, tree.run.id, kind="run", ref="x", state="x", actor="someone"
                )
    return statements


@pytest.mark.parametrize("config", ["postgres"], indirect=True)
def test_a_transaction_locks_a_run_once_and_the_next_one_again(tree: Tree) -> None:
    statements = statements_of_two_transactions(tree)
    assert sum("pg_advisory_xact_lock" in statement for statement in statements) == 2


def test_a_transaction_looks_up_the_last_event_once_and_goes_on_from_its_own(tree: Tree) -> None:
    statements = statements_of_two_transactions(tree)
    assert sum("FROM events" in statement for statement in statements) == 2
    with tree.database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


@pytest.mark.parametrize("config", ["postgres"], indirect=True)
def test_those_who_wait_for_a_run_get_it_in_the_order_of_asking(tree: Tree) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    order = [f"writer {number}" for number in range(6)]
    threads = [Thread(target=append, args=(tree, actor)) for actor in order]
    with tree.database.transaction() as connection, tree.database.read() as reader:
        audit.lock(connection, tree.run.id)
        for number, thread in enumerate(threads, start=1):
            thread.start()
            deadline = time.monotonic() + 60
            while reader.execute(waiting).scalar_one() < number and time.monotonic() < deadline:
                time.sleep(0.005)
    for thread in threads:
        thread.join(60)
    with tree.database.read() as connection:
        assert [each.actor for each in audit.since(connection, tree.run.id)][-6:] == order

"""What waits for a training process, and what becomes of it when the process ends."""

from __future__ import annotations

from dataclasses import replace

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import inbox
from branchtrack.db import requests
from branchtrack.db.engine import Database
from tests.control.samples import SET_LR
from tests.trees_for_tests import make_tree


def test_what_a_closing_process_never_answered_is_ended(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    waiting = control.submit(database, "demo", SET_LR, actor="me")
    applied = control.submit(database, "demo", SET_LR, actor="me")
    with database.transaction() as connection:
        requests.move(connection, applied.id, "applied", actor="run")
        segment = tree.segment("main").id
        assert control.expire_unanswered(connection, segment, "run", "gone") == 2
        states = [requests.get(connection, r.id).state for r in (waiting, applied)]
    assert states == ["expired", "failed"]


def test_one_request_can_be_spared(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    first, second = (control.submit(sqlite_database, "demo", SET_LR, actor="me") for _ in range(2))
    segment = tree.segment("main").id
    with sqlite_database.transaction() as connection:
        assert inbox.expire_unanswered(connection, segment, "run", "gone", spare=first.id) == 1
    assert [request.id for request in inbox.poll(sqlite_database, segment)] == [first.id]
    with sqlite_database.read() as connection:
        assert requests.get(connection, second.id).error == "gone"


def test_requests_of_a_process_that_ended_hang_no_more(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    control.submit(sqlite_database, "demo", SET_LR, actor="me")
    assert inbox.expire_hanging(sqlite_database, tree.run.id, "me") == 0
    tree.end("main", "failed")
    assert inbox.expire_hanging(sqlite_database, tree.run.id, "me") == 1
    assert inbox.expire_hanging(sqlite_database, tree.run.id, "me") == 0


def test_only_a_rewind_goes_on_in_another_segment(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    request = control.submit(sqlite_database, "demo", SET_LR, actor="me")
    rewind = replace(request, kind="rewind")
    with sqlite_database.read() as connection:
        assert inbox.successor(connection, replace(request, result={"segment": "b"})) is None
        assert inbox.successor(connection, rewind) is None
        moved = replace(rewind, result={"segment": tree.segment("main").id})
        assert inbox.successor(connection, moved) == tree.segment("main").id

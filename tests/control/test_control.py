"""A request is validated and stored for the process, or refused with nothing but its record."""

from __future__ import annotations

import time
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core import lifecycle
from branchtrack.db import audit, requests, tables
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NotLive
from tests.control.samples import SET_LR, row_counts
from tests.trees_for_tests import make_forked_tree, make_tree


def test_a_request_is_stored_normalised_and_waits_for_the_process(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me", reason=" too high ")
    assert (request.state, request.requested) == ("accepted", {"values": {"lr": 1e-3}})
    assert (request.payload, request.reason) == ({"values": {"lr": "1e-3"}}, "too high")
    assert [r.id for r in control.poll(database, tree.segment("main").id)] == [request.id]


@pytest.mark.parametrize("value", ["nan", "-1", "abc", "inf", True])
def test_a_refused_value_is_recorded_and_never_reaches_the_process(
    sqlite_database: Database, store: Store, value: Any
) -> None:
    tree = make_tree(sqlite_database, store)
    with pytest.raises(InvalidInput, match="lr"):
        control.submit(
            sqlite_database, "demo", {"kind": "set", "values": {"lr": value}}, actor="me"
        )
    assert control.poll(sqlite_database, tree.segment("main").id) == []
    with sqlite_database.read() as connection:
        recorded = requests.list_of_run(connection, tree.run.id)
        states = [e.state for e in audit.since(connection, tree.run.id) if e.kind == "request"]
    assert [(r.state, r.kind) for r in recorded] == [("rejected", "set")]
    assert "greater than 0" in (recorded[0].error or "")
    assert states == ["received", "rejected"]


def test_a_branch_that_nobody_trains_takes_no_request(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    tree.end("main")
    before = row_counts(sqlite_database)
    with pytest.raises(NotLive, match="demo/cooler"):
        control.submit(sqlite_database, "demo", SET_LR, actor="me")
    # Nothing but the request, with why it was refused.
    assert row_counts(sqlite_database) == {
        **before,
        "requests": 1,
        "events": before["events"] + 2,
        "seals": before["seals"] + 3,
    }
    tree.end("cooler")
    with pytest.raises(NotLive, match="branchtrack tree demo"):
        control.submit(sqlite_database, "demo/cooler", SET_LR, actor="me")


def test_a_process_without_heartbeat_takes_no_request(database: Database, store: Store) -> None:
    make_tree(database, store)
    with database.transaction() as connection:
        old = time.time() - lifecycle.SILENT_AFTER - 1
        connection.execute(tables.segments.update().values(heartbeat_at=old))
    with pytest.raises(NotLive, match="lost"):
        control.submit(database, "demo", SET_LR, actor="me")

"""What is kept of requests that are refused, however many there are."""

from __future__ import annotations

import json

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control.refusals import WHOLE
from branchtrack.core.actors import Actor
from branchtrack.db import audit, refusals, requests
from branchtrack.db.engine import Database
from branchtrack.errors import Forbidden
from tests.trees_for_tests import make_forked_tree, make_tree

VIEWER = Actor("v", "viewer", "api", "0" * 16)
PAUSE = {"kind": "pause"}


def refuse(database: Database, times: int, ref: str = "demo", text: str = "x") -> None:
    for _ in range(times):
        with pytest.raises(Forbidden):
            control.submit(database, ref, {**PAUSE, "more": text}, actor=VIEWER, reason=text)


def test_the_first_refusals_are_kept_whole_and_the_others_counted(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    with database.read() as connection:
        lines = audit.last_id(connection, tree.run.id)
    refuse(database, WHOLE + 15)
    with database.read() as connection:
        kept = requests.list_of_run(connection, tree.run.id)
        (counted,) = refusals.of_run(connection, tree.run.id)
        assert audit.last_id(connection, tree.run.id) == lines + 2 * WHOLE
        assert audit.unlogged_changes(connection, tree.run.id) == []
    assert [one.state for one in kept] == ["rejected"] * WHOLE
    assert (counted.actor, counted.kind, counted.count) == (VIEWER.label, "Forbidden", 15)
    assert counted.first_at <= counted.last_at
    assert control.submit(database, "demo", PAUSE, actor="me").state == "accepted"


def test_another_actor_and_another_branch_are_counted_by_themselves(
    sqlite_database: Database, store: Store
) -> None:
    tree, _made = make_forked_tree(sqlite_database, store)
    refuse(sqlite_database, WHOLE + 1)
    refuse(sqlite_database, 2, "demo/cooler")
    with pytest.raises(Forbidden):
        control.submit(sqlite_database, "demo", PAUSE, actor=Actor("w", "viewer"))
    with sqlite_database.read() as connection:
        counted = refusals.of_run(connection, tree.run.id)
        assert [one.count for one in counted] == [2, 1]
        assert len(refusals.of_run(connection, tree.run.id, counted[0].branch_id)) == 1
        assert len(requests.list_of_run(connection, tree.run.id)) == WHOLE + 1


def test_little_is_kept_of_much_that_was_refused(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    refuse(sqlite_database, 1, text="x" * 2000)
    with pytest.raises(Forbidden):
        control.submit(sqlite_database, "demo", {"kind": "k" * 16000, "n" * 16000: 1}, actor=VIEWER)
    with sqlite_database.read() as connection:
        for one in requests.list_of_run(connection, tree.run.id):
            assert len(json.dumps([one.kind, one.payload, one.reason, one.error])) < 3000


def test_refusals_that_nobody_looked_at_are_counted_where_there_is_such_a_branch(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    counts = {("demo/main", "v", "RateLimited"): 7, ("nope/\udcff", "v", "RateLimited"): 2}
    for _ in range(2):
        control.count_refusals(sqlite_database, counts)
    with sqlite_database.read() as connection:
        (counted,) = refusals.of_run(connection, tree.run.id)
    assert counted.count == 14

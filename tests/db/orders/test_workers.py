"""A worker is known while it is heard of, and forgotten when it leaves."""

from __future__ import annotations

import time
from dataclasses import replace

from branchtrack.core.records import WorkerRow
from branchtrack.db.engine import Database
from branchtrack.db.orders import workers


def test_a_worker_is_known_until_it_leaves_and_its_start_stays(database: Database) -> None:
    now = time.time()
    worker = WorkerRow("box:1", "box", 2, ["gpu"], ["0"], now, now)
    with database.transaction() as connection:
        workers.beat(connection, worker)
        workers.beat(connection, replace(worker, started_at=now + 9, slots=3))
    with database.transaction() as connection:
        assert workers.heard_of(connection) == [replace(worker, slots=3)]
        workers.leave(connection, worker.name)
        assert workers.heard_of(connection) == []


def test_one_that_is_silent_is_not_among_those_heard_of_lately(database: Database) -> None:
    silent = WorkerRow("box:2", "box", 1, [], [], 0.0, time.time() - 60)
    with database.transaction() as connection:
        workers.beat(connection, silent)
        assert workers.heard_of(connection, within=30) == []
        assert workers.heard_of(connection, within=90) == [silent]

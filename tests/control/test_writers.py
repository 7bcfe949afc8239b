"""Many that write to one run at once, some of them killed: nothing is lost, and the chain holds."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from branchtrack import config, control
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db import audit, requests
from branchtrack.db.engine import Database
from tests.matrices import some
from tests.trees_for_tests import make_tree

THREADS, EACH = 4, 6


def crowd(home: str, url: str, count: int, ready: Any) -> None:
    """Ask from several threads at once."""
    database = Database(config.load(Path(home), url).database_url)
    values = {"kind": "set", "values": {"lr": 1e-3}}
    ready.set()

    def work() -> None:
        for _ in range(count):
            control.submit(database, "demo", values, actor="crowd", reason="why")

    threads = [Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()


def answer(database: Database, segment: str, ids: set[str]) -> None:
    """Answer what waits, as the training process does, until all of it has been."""
    deadline = time.monotonic() + 60
    while ids and time.monotonic() < deadline:
        for request in control.poll(database, segment):
            with database.transaction() as connection:
                requests.move(connection, request.id, "applied", actor="run", step=1)
                requests.move(connection, request.id, "verified", actor="run")
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("config", "killed"),
    some(
        [(kind, killed) for kind in ("sqlite", "postgres") for killed in (False, True)],
        ("sqlite", True),
        ("postgres", False),
    ),
    indirect=["config"],
)
def test_a_crowd_is_answered_and_the_chain_holds(
    config: Config, database: Database, store: Store, killed: bool
) -> None:
    tree = make_tree(database, store)
    context = get_context("spawn")
    ready = [context.Event() for _ in range(2)]
    count = 1000 if killed else EACH
    processes = [
        context.Process(
            target=crowd,
            args=(str(config.home), config.database_url, count if i == 0 else EACH, ready[i]),
        )
        for i in range(2)
    ]
    for process in processes:
        process.start()
    pending = {"some"}
    thread = Thread(target=answer, args=(database, tree.segment("main").id, pending))
    thread.start()
    if killed:
        assert ready[0].wait(60)
        time.sleep(random.Random(5).uniform(0.2, 0.5))
        processes[0].kill()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [-signal.SIGKILL if killed else 0, 0]
    deadline = time.monotonic() + 60
    while control.poll(database, tree.segment("main").id) and time.monotonic() < deadline:
        time.sleep(0.02)
    pending.clear()
    thread.join(60)
    with database.read() as connection:
        every = requests.list_of_run(connection, tree.run.id, 10_000)
        states = Counter(one.state for one in every)
        events = audit.since(connection, tree.run.id, limit=100_000)
        assert audit.first_broken_seq(connection, tree.run.id) is None
    assert set(states) == {"verified"} and len(every) >= THREADS * EACH * (1 if killed else 2)
    # Each move of each request, once and in order.
    for request in every:
        moves = [one.state for one in events if one.ref == request.id]
        assert moves == ["received", "accepted", "applied", "verified"]
    assert [one.seq for one in events] == list(range(1, len(events) + 1))

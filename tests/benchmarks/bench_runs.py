"""What the page of runs costs the server where there are many: CPU time of one answer.

    python -m tests.benchmarks.bench_runs [--runs 10000] [--live 20] [--rounds 9]

Runs, branches, segments and metrics are inserted as rows: ten thousand trainings would take a day.
The least and the most CPU time of a few rounds are told, and that of the first answer, which reads
everything.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.core.builtin_settings import BUILT_IN
from branchtrack.db import tables
from branchtrack.db.browsing import summaries
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app

METRICS = ("loss", "eval_loss", "lr", "grad_norm")
POINTS = 30
PAGES = {
    "by held-out value": "/",
    "latest": "/runs?sort=-updated",
    "filtered and sorted": "/runs?q=lr<1e-2+best(eval_loss)<2.5&sort=best(eval_loss)",
    "by state and tag": "/runs?q=status:finished+tag:t3&sort=-last(loss)",
    "grouped": "/runs?by=status&sort=lr",
    "search": "/runs?q=run-01",
    "page 100": "/runs?page=100",
}


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds of the first answer and of later ones, and bytes."""

    first: float
    least: float
    most: float
    size: int


def measure(count: int, live: int, rounds: int) -> dict[str, Cost]:
    """The cost of each list of so many runs, of which some train."""
    with tempfile.TemporaryDirectory() as folder:
        config = load(Path(folder) / "home")
        database, store = open_database(config, create=True), open_store(config.store)
        seed(database, count, live)
        client = create_app(config, database, store, token=None).test_client()
        costs = {name: _cost(client, path, rounds) for name, path in PAGES.items()}
        database.close()
        return costs


def seed(database: Database, count: int, live: int) -> None:
    """Insert runs with a branch each, and every fourth with two."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, row in _rows(count, live):
        rows.setdefault(table, []).append(row)
    with database.transaction() as connection:
        for name, values in rows.items():
            connection.execute(tables.metadata.tables[name].insert(), values)
        summaries.rebuild(connection)


def _rows(count: int, live: int) -> Iterator[tuple[str, dict[str, Any]]]:
    chance, now, series = random.Random(0), time.time(), 0
    declared = [setting.as_dict() for setting in BUILT_IN] * 4
    for number in range(count):
        run = f"{number:016x}"
        yield "runs", _run(run, number, now)
        for position in range(1 + (number % 4 == 0)):
            branch = segment = f"{chance.getrandbits(64):016x}"
            is_live = number < live and position == 0
            yield "branches", _branch(run, branch, position, now)
            rate = {"lr": 10 ** chance.uniform(-5, -1), "weight_decay": 0.01, "optimizer": "adamw"}
            status = "running" if is_live else chance.choice(("finished", "stopped", "failed"))
            times = {"started_at": now, "heartbeat_at": now + 3600, "ended_at": None}
            times |= {} if is_live else {"ended_at": now}
            facts = {"run_id": run, "branch_id": branch, "declared": declared, "settings": rate}
            yield "segments", {**_SEGMENT, **facts, **times, "id": segment, "status": status}
            for metric in METRICS:
                series += 1
                yield "metric_series", {"id": series, "segment_id": segment, "name": metric}
                low = chance.uniform(1, 4)
                for step in range(POINTS if metric == "loss" else 2):
                    value = low + 1 / (step + 1)
                    point = {"series_id": series, "step": 10 * step, "value": value, "time": now}
                    yield "metric_points", point


_SEGMENT: dict[str, Any] = {
    "position": 0,
    "step": 1000,
    "max_steps": 1000,
    "rate": 3.0,
    "offers": {},
    "environment": {"python": "3.11"},
    "code": {"command": "python train.py"},
}


def _run(run: str, number: int, now: float) -> dict[str, Any]:
    return {
        "id": run,
        "name": f"run-{number:05}",
        "default_branch": "main",
        "entry_point": {"argv": ["python", "train.py"], "cwd": "/project"},
        "tags": [f"t{number % 7}"] if number % 3 == 0 else [],
        "notes": "a remark " * (number % 4),
        "created_at": now - 60 * number,
        "updated_at": now - 30 * number,
    }


def _branch(run: str, branch: str, position: int, now: float) -> dict[str, Any]:
    return {
        "id": branch,
        "run_id": run,
        "name": f"b{position}" if position else "main",
        "position": position,
        "segment_id": branch,
        "created_at": now,
    }


def table(costs: dict[str, Cost]) -> str:
    """The costs in columns."""
    rows = (
        f"{name:20} first {cost.first:8.1f}  then {cost.least:6.1f} to {cost.most:6.1f} ms"
        f" {cost.size / 1e3:7.1f} kB"
        for name, cost in costs.items()
    )
    return "\n".join(rows)


def _cost(client: FlaskClient, path: str, rounds: int) -> Cost:
    spent, size = [], 0
    for _ in range(rounds + 1):
        began = time.process_time()
        answer = client.get(path)
        size = len(answer.get_data())
        spent.append(1e3 * (time.process_time() - began))
        assert answer.status_code == 200, path
    return Cost(spent[0], min(spent[1:]), max(spent[1:]), size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("runs", 10_000), ("live", 20), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    print(table(measure(arguments.runs, arguments.live, arguments.rounds)))

"""Fifty trainers on one PostgreSQL, steered by others while they log and commit.

    python -m tests.benchmarks.bench_team [--trainers 50] [--seconds 60] [--update 200] [--every 4]
                                          [--runs one|many] [--url URL] [--json FILE]

Each trainer is a process with a real training of a tiny model, whose updates sleep ``update``
milliseconds; `team` says how so many fit on two cores. Each is asked about once in ``every``
seconds, for a new learning rate or a checkpoint, by threads of two other processes. With ``one``
all are forks of one node of one run, and share one chain of events; with ``many`` each is a run.

asked -> applied: from before the request is sent until its sender knows that it was carried out,
which is after its node is durable. Without ``--url`` a server is started in a temporary folder,
which flushes to disk as it does by default.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from branchtrack import config, control
from branchtrack.checkpoints.location import open_store
from branchtrack.db import audit, integrity, metrics, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import BranchtrackError
from tests.benchmarks import team
from tests.benchmarks.team import RUN, Team

#: Seconds in which all trainers have to begin, and to end.
_PATIENCE = 600.0


def measure(
    trainers: int = 50,
    seconds: float = 60.0,
    update_ms: float = 200.0,
    every: float = 4.0,
    runs_of: str = "one",
    url: str | None = None,
    connections: int = 300,
    settle: float = 20.0,
) -> dict[str, Any]:
    """All of it; ``url`` is an empty database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        where = url or stack.enter_context(team.server(connections))
        own = Team(folder, where, update_ms / 1e3)
        return _measure(own, trainers, seconds, every, runs_of, settle)


def _measure(
    own: Team, trainers: int, seconds: float, every: float, runs_of: str, settle: float
) -> dict[str, Any]:
    database = open_database(config.load(own.home, own.url), create=True)
    context = team.context()
    is_one = runs_of == "one"
    node = root(own, context, database) if is_one else None
    names = [f"trainer-{number}" for number in range(trainers)]
    branches = [f"{RUN}/{name}" if is_one else f"{name}/main" for name in names]
    over, unasked, ready = context.Event(), context.Event(), context.Semaphore(0)
    training = [context.Process(target=team.train, args=(own, n, node, over)) for n in names]
    for process in training:
        process.start()
    are_live = live(database, branches, _PATIENCE)
    # Starting takes a core for a second or two each, and their first jobs are about the code.
    time.sleep(settle)
    asking = [
        context.Process(target=team.ask, args=(own, n, branches[n::2], every, ready, unasked))
        for n in range(2)
    ]
    for process in asking:
        process.start()
    for _ in asking:
        ready.acquire(timeout=_PATIENCE)
    started, most = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        most = max(most, team.load_of_server(database)["connections"])
        time.sleep(1.0)
    for event, processes in ((unasked, asking), (over, training)):
        event.set()
        for process in processes:
            process.join(_PATIENCE)
    reports = [json.loads(own.report(f"asker-{n}").read_text()) for n in range(2)]
    report = {
        "trainers": trainers,
        "all_live": are_live,
        "one_run": is_one,
        "seconds": seconds,
        **_answers(own, database, reports, names),
        "most_connections": most,
        "deadlocks": team.load_of_server(database)["deadlocks"],
        "exit_codes": dict(Counter(process.exitcode for process in [*training, *asking])),
        **record(own, database, [RUN] if is_one else names, names, is_one),
    }
    database.close()
    return report


def root(own: Team, context: Any, database: Database) -> str:
    """The node that all begin from: a run's newest, after its training has ended."""
    over = context.Event()
    process = context.Process(target=team.train, args=(own, RUN, None, over))
    process.start()
    live(database, [f"{RUN}/main"], _PATIENCE)
    time.sleep(1.0)
    over.set()
    process.join(_PATIENCE)
    with database.read() as connection:
        return str(runs.find_branch(connection, RUN).head_id)


def live(database: Database, branches: list[str], seconds: float) -> bool:
    """Wait until branches are trained, for some seconds; whether all are."""
    deadline = time.monotonic() + seconds
    waiting = list(branches)
    while waiting and time.monotonic() < deadline:
        try:
            with database.read() as connection:
                control.live_segment(connection, runs.find_branch(connection, waiting[0]))
            del waiting[0]
        except BranchtrackError:
            time.sleep(0.2)
    return not waiting


def _answers(
    own: Team, database: Database, reports: list[dict[str, Any]], names: list[str]
) -> dict[str, Any]:
    """Times of requests and updates in milliseconds, and how the requests ended."""
    waits = [1e3 * wait for report in reports for wait, _kind in report["waits"]]
    ids = [ref for report in reports for ref in report["requests"]]
    lengths = [
        1e3 * length
        for name in names
        if own.report(name).exists()
        for length in json.loads(own.report(name).read_text())["lengths"]
    ]
    report: dict[str, Any] = {"requests": len(ids), "answered": len(waits)}
    for word, values in (("asked_applied_ms", waits), ("update_ms", lengths)):
        cuts = np.percentile(values or [np.nan], [50, 95, 99])
        report[word] = dict(zip(("p50", "p95", "p99"), map(float, cuts), strict=True))
    beyond = report["asked_applied_ms"]["p99"] - report["update_ms"]["p50"]
    report["p99_beyond_an_update_ms"] = beyond
    report["refused"] = [line for each in reports for line in each["refused"]]
    report["states"] = dict(Counter(team.settled(database, ids).values()))
    return report


def record(
    own: Team, database: Database, run_names: list[str], names: list[str], is_one: bool
) -> dict[str, Any]:
    """What was written of requests, points and nodes, and what of it is missing or wrong."""
    store = open_store(config.load(own.home, own.url).store)
    report = {"points": 0, "points_lost": 0, "nodes": 0, "nodes_broken": 0, "events": 0}
    problems: list[str] = []
    for name in names:
        path = own.report(name)
        with database.read() as connection:
            branch = runs.find_branch(connection, f"{RUN}/{name}" if is_one else f"{name}/main")
            series = metrics.read(connection, [branch.segment_id or ""], "loss")
        points = sum(len(points.steps) for points in series.values())
        report["points"] += points
        if path.exists():
            report["points_lost"] += json.loads(path.read_text())["updates"] - points
    states: dict[str, str | None] = {}
    for name in run_names:
        with database.read() as connection:
            run = runs.find_run(connection, name)
            every = nodes.list_of_run(connection, run.id)
            problems += map(str, integrity.of_run(connection, run.id))
            report["events"] += len(audit.since(connection, run.id, limit=10**7))
        verdicts = [control.node_verdict(database, store, node.id, states) for node in every]
        report["nodes"] += len(every)
        report["nodes_broken"] += sum(not verdict["whole"] for verdict in verdicts)
    return {**report, "problems": problems}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--update", type=float, default=200.0)
    parser.add_argument("--every", type=float, default=4.0)
    parser.add_argument("--runs", choices=("one", "many"), default="one")
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--settle", type=float, default=20.0, help="seconds before the first")
    parser.add_argument("--url")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report = measure(
        args.trainers,
        args.seconds,
        args.update,
        args.every,
        args.runs,
        args.url,
        args.connections,
        args.settle,
    )
    printed = json.dumps(report, indent=1)
    print(printed)
    if args.json:
        args.json.write_text(printed)


if __name__ == "__main__":
    main()

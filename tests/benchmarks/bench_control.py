"""How fast a live run answers, and what many requests cost whoever looks at them later.

    python -m tests.benchmarks.bench_control [--requests 200] [--many 10000] [--points 1000000]
                                             [--processes 2] [--threads 20] [--json FILE]

Four measurements against a training in a process of its own:

idle: the control point of a plain loop that nobody asks anything.
latency: requests one after the other, each from being asked to being recorded as applied, beside
    the time of one update. Half of the changes are of the learning rate, half are checkpoints.
crowd: processes of many threads ask at once; every request is to be answered, the chain to hold.
crowded: a run of many requests and points: `branchtrack audit` and the page, timed whole.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import branchtrack
from branchtrack import config, control
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config
from branchtrack.core import lifecycle
from branchtrack.db import audit, metrics, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import HOME_VARIABLE
from branchtrack.errors import BranchtrackError

RUN = "bench"


@contextmanager
def training(folder: Path, update_ms: float) -> Iterator[tuple[Config, Database]]:
    """A training that goes on while the block runs, and its home."""
    settings = config.load(folder, None)
    script = [sys.executable, "-m", "tests.benchmarks.control_script", str(update_ms)]
    environment = {**os.environ, HOME_VARIABLE: str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL)
    try:
        database = _opened(settings)
        yield settings, database
        database.close()
    finally:
        process.terminate()
        process.wait(60)


def idle_us(calls: int = 20_000) -> float:
    """Microseconds of a control point at which there is nothing to do: the median."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[HOME_VARIABLE] = folder
        model = torch.nn.Linear(8, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with branchtrack.start("idle", model=model, optimizer=optimizer) as run:
            run.step()
            times = []
            for _ in range(calls):
                started = time.perf_counter_ns()
                run.step()
                times.append(time.perf_counter_ns() - started)
        del os.environ[HOME_VARIABLE]
    return statistics.median(times) / 1e3


def latency(count: int, update_ms: float = 20.0) -> dict[str, float]:
    """Milliseconds from asking to being recorded as applied, and beyond one update's length."""
    with (
        tempfile.TemporaryDirectory() as folder,
        training(Path(folder), update_ms) as (_, database),
    ):
        step_ms = _step_ms(database)
        waits = []
        for number in range(count):
            payload = (
                {"kind": "set", "values": {"lr": 1e-3 * (1 + number % 7)}}
                if number % 2
                else {"kind": "checkpoint"}
            )
            started = time.perf_counter()
            asked = control.submit(database, RUN, payload, actor="bench")
            while _state(database, asked.id) == "accepted":
                time.sleep(0.001)
            waits.append(1e3 * (time.perf_counter() - started))
            time.sleep(0.02)
    cuts = np.percentile(waits, [50, 99])
    median, most = float(cuts[0]), float(cuts[1])
    return {
        "requests": count,
        "update_ms": step_ms,
        "median_ms": median,
        "p99_ms": most,
        "p99_beyond_an_update_ms": most - step_ms,
    }


def ask_many(folder: str, count: int, threads: int, seconds: float = 300.0) -> None:
    """Ask from many threads of this process, and wait until all is answered."""
    database = open_database(config.load(Path(folder), None))
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            values = {"lr": 1e-3 * (1 + number % 9), "weight_decay": 0.01 * (number % 3)}
            control.submit(
                database,
                RUN,
                {"kind": "set", "values": values},
                actor="bench",
                reason=f"number {number} of {os.getpid()}",
            )

    crowd = [threading.Thread(target=work) for _ in range(threads)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    database.close()


def crowd(folder: Path, database: Database, count: int, processes: int, threads: int) -> Any:
    """Have processes ask at once; returns how requests ended, how long it took, and the chain."""
    started = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    share = count // processes
    children = [
        context.Process(target=ask_many, args=(str(folder), share, threads))
        for _ in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    asked = time.perf_counter() - started
    with database.read() as connection:
        run = runs.find_run(connection, RUN)
    while True:
        with database.read() as connection:
            left = len(requests.hanging(connection, run.id))
        if not left or time.perf_counter() - started > 900:
            break
        time.sleep(0.2)
    with database.read() as connection:
        every = requests.list_of_run(connection, run.id, 10 * count)
        found = Counter(one.state for one in every)
        broken = audit.first_broken_seq(connection, run.id)
        events = len(audit.since(connection, run.id, limit=10**7))
    return {
        "requests": len(every),
        "states": dict(found),
        "left": left,
        "chain_breaks_at": broken,
        "events": events,
        "asked_s": asked,
        "answered_s": time.perf_counter() - started,
        "exit_codes": [child.exitcode for child in children],
    }


def crowded(settings: Config, database: Database, points: int) -> dict[str, Any]:
    """Times of the command and of the page on the run as it is, with many points beside."""
    with database.read() as connection:
        branch = runs.find_branch(connection, RUN)
        run_id = branch.run_id
    names = [f"extra/{place}" for place in range(10)]
    each = points // len(names)
    for first in range(0, each, 5000):
        rows = [
            (name, step, float(step % 97), 0.0)
            for step in range(first, min(first + 5000, each))
            for name in names
        ]
        with database.transaction() as connection:
            metrics.append(connection, branch.segment_id or "", rows, metrics.Known())
    base = [sys.executable, "-m", "branchtrack", "--home", str(settings.home)]
    found: dict[str, Any] = {"points": each * len(names)}
    found["python_ms"] = _median([sys.executable, "-c", ""])
    for more in ([], ["--json"], ["--verify"]):
        found[" ".join(["audit", *more, "ms"])] = _median([*base, "audit", RUN, *more])
    found["page_ms"] = _page_ms(settings, database, f"/runs/{RUN}/audit")
    found["api_ms"] = _page_ms(settings, database, f"/api/v1/runs/{RUN}/audit?limit=200")
    seen, cursor = 0, 0
    with database.read() as connection:
        while batch := audit.since(connection, run_id, cursor, 1000):
            seqs = [one.seq for one in batch]
            assert seqs == list(range(seen + 1, seen + 1 + len(batch))), "a gap on reading again"
            seen, cursor = seqs[-1], batch[-1].id
    found["events_read_again"] = seen
    return found


def _median(command: list[str], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def _page_ms(settings: Config, database: Database, path: str, rounds: int = 7) -> float:
    from branchtrack.web.app import create_app

    client = create_app(settings, database, open_store(settings.store), token=None).test_client()
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        answer = client.get(path, base_url="http://127.0.0.1")
        times.append(1e3 * (time.perf_counter() - started))
        assert answer.status_code == 200, answer.status_code
    return statistics.median(times[1:])


def _opened(settings: Config) -> Database:
    deadline = time.monotonic() + 60
    while True:
        try:
            database = open_database(settings)
            with database.read() as connection:
                control.live_segment(connection, runs.find_branch(connection, RUN))
            return database
        except BranchtrackError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _state(database: Database, request_id: str) -> str:
    with database.read() as connection:
        return requests.get(connection, request_id).state


def _step_ms(database: Database, seconds: float = 3.0) -> float:
    def step() -> int:
        with database.read() as connection:
            branch = runs.find_branch(connection, RUN)
            segment = segments.get(connection, branch.segment_id or "")
            assert lifecycle.segment_status(segment, time.time()) == "running"
            return segment.step

    time.sleep(1.5)
    first, started = step(), time.perf_counter()
    time.sleep(seconds)
    return 1e3 * (time.perf_counter() - started) / max(step() - first, 1)


def measure(
    count: int = 200,
    many: int = 10_000,
    points: int = 1_000_000,
    processes: int = 2,
    threads: int = 20,
) -> dict[str, Any]:
    """All four."""
    found: dict[str, Any] = {"idle_us": idle_us(), "latency": latency(count)}
    with tempfile.TemporaryDirectory() as folder, training(Path(folder), 5.0) as (where, database):
        found["crowd"] = crowd(Path(folder), database, many, processes, threads)
        found["crowded"] = crowded(where, database, points)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("requests", 200),
        ("many", 10_000),
        ("points", 1_000_000),
        ("processes", 2),
        ("threads", 20),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = measure(asked.requests, asked.many, asked.points, asked.processes, asked.threads)
    text = json.dumps(found, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(text)


if __name__ == "__main__":
    main()

"""What curves cost the server by their length: CPU time and bytes of answers of the API.

    python -m tests.benchmarks.bench_curves [--rounds 5]

The points are written as blocks, the way a training seals them. The least CPU time of a few rounds
is told, which other programs on the machine hardly change.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.db import metrics
from branchtrack.db.metrics import BLOCK, Series
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from tests.benchmarks.bench_pages import Cost, cost, table
from tests.web import seeds


def measure(steps: int, rounds: int) -> dict[str, Cost]:
    """The cost of curves of a tenth of the steps, of all of them, and of a thousand of them."""
    with tempfile.TemporaryDirectory() as folder:
        config = load(Path(folder) / "home")
        database, store = open_database(config, create=True), open_store(config.store)
        grower = seeds.Grower(database, store, "long")
        main = grower.line("main", 10**7)
        root = main.commit("root", 0)
        log_blocks(main, "loss", 1, steps, seed=0)
        log_blocks(main, "short", 1, steps // 10, seed=1)
        sides = [grower.fork(root, name, lr=lr) for name, lr in (("one", 1e-3), ("two", 1e-4))]
        for number, side in enumerate(sides):
            log_blocks(side, "loss", 1, steps * 12 // 100, seed=number)
        client = create_app(config, database, store, token=None).test_client()
        api, middle = "/api/v1/curve?branch=long/main", steps // 2
        pages = {
            f"{steps // 10} points": f"{api}&metric=short&points=1000",
            f"{steps} points": f"{api}&metric=loss&points=1000",
            "zoomed in": f"{api}&metric=loss&points=1000&from={middle}&to={middle + 999}",
            "compare": "/compare?a=long/one&b=long/two",
        }
        costs = {name: cost(client, path, {}, rounds) for name, path in pages.items()}
        database.close()
        return costs


def log_blocks(line: seeds.Line, name: str, first: int, last: int, seed: int) -> None:
    """Write points of every step from the first to the last: full blocks, and the rest as rows."""
    steps = np.arange(first, last + 1)
    noise = np.random.default_rng(seed).normal(0, 0.1, steps.size)
    values = 2 + 3 * np.exp(-4 * steps / last) + noise
    whole = steps.size - steps.size % BLOCK
    with line.grower.database.transaction() as connection:
        series = metrics._series_id(connection, line.segment.id, name)
        for start in range(0, whole, BLOCK):
            window = slice(start, start + BLOCK)
            block = Series(steps[window], values[window], 1e9 + steps[window])
            metrics._insert_block(connection, series, block)
    line.log(name, steps[whole:], values[whole:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag, default in (("steps", 1_000_000), ("rounds", 5)):
        parser.add_argument(f"--{flag}", type=int, default=default)
    print(table(measure(**vars(parser.parse_args()))))

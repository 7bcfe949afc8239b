"""What pages of a large tree cost the server: CPU time and bytes, and how both grow with the tree.

    python -m tests.benchmarks.bench_pages [--branches 60] [--nodes 80] [--steps 14500] [--rounds 3]
        [--trials 200]

A tree is grown through the functions that a training uses, then each page is asked for through a
client in this process. The least CPU time of a few rounds is told, which other programs on the
machine hardly change.
"""

from __future__ import annotations

import argparse
import gzip
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flask.testing import FlaskClient

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.db.schema import open_database
from branchtrack.web import shared_answers
from branchtrack.web.app import create_app
from tests.web import seeds
from tests.web.tried import make_trial

PAIRS = 50
_LIVE = {"HX-Request": "true", "HX-Target": "div#live"}


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds of one answer, and its bytes as they are and compressed."""

    cpu_ms: float
    size: int
    compressed: int


def measure(branches: int, nodes: int, steps: int, rounds: int, trials: int) -> dict[str, Cost]:
    """The cost of each page of a tree whose every branch has so many nodes and steps.

    From its newest node so many changes were tried, each in `PAIRS` pairs.
    """
    # Each answer is made anew.
    shared_answers.MOMENT = -1.0
    with tempfile.TemporaryDirectory() as folder:
        config = load(Path(folder) / "home")
        database, store = open_database(config, create=True), open_store(config.store)
        last = grow(seeds.Grower(database, store, "big"), branches, nodes, steps)
        for number in range(trials):
            try_from(last, number)
        client = create_app(config, database, store, token=None).test_client()
        live = re.search(r'hx-get="([^"]+)"', client.get("/runs/big").text)
        assert live is not None and last.head is not None
        steer = f"/runs/big/branches/{last.branch.name}/steer"
        pages = {
            "tree": ("/runs/big", {}),
            "zoomed in": (f"/runs/big?from={steps // 2}&to={steps // 2 + 100}", {}),
            "live, unchanged": (live[1].replace("&amp;", "&"), _LIVE),
            "live, all parts": ("/runs/big", _LIVE),
            "node": (f"/nodes/{last.head.id}", {}),
            "steer": (steer, {}),
            "trials": ("/runs/big/trials", {}),
            "trials (API)": ("/api/v1/runs/big/trials", {}),
            "compare": (f"/compare?a=big/main&b=big/{last.branch.name}", {}),
        }
        costs = {name: cost(client, *page, rounds) for name, page in pages.items()}
        costs["live, a node more"] = update(client, last, rounds)
        database.close()
        return costs


def table(costs: dict[str, Cost]) -> str:
    """The costs in columns."""
    rows = [
        f"{name:16} {cost.cpu_ms:8.1f} ms {cost.size / 1e3:8.1f} kB {cost.compressed / 1e3:7.1f} kB"
        for name, cost in costs.items()
    ]
    return "\n".join(rows)


def grow(grower: seeds.Grower, branches: int, nodes: int, steps: int) -> seeds.Line:
    """Branches that each fork from the middle of the one before; returns the last, which trains."""
    noise = np.random.default_rng(0)
    line = grower.line("main", 10**6)
    for number in range(branches):
        if number:
            assert line.head is not None
            head = line.head
            line.end("finished")
            line = grower.fork(head, f"try-{number:02}", lr=1e-3 * 0.9**number)
        first = line.step
        seeds.many(line, nodes)
        line.step = first + steps
        line.log("loss", range(first + 1, first + steps + 1), 2 + noise.normal(0, 0.1, steps))
    line.beat()
    return line


def try_from(line: seeds.Line, number: int) -> None:
    """A trial of the newest node whose branches were removed since."""
    assert line.head is not None
    pairs = [(2 + n / 100, 1.99 + n / 100) for n in range(PAIRS)]
    make_trial(line.grower, line.head, pairs, group=f"trial-{number}", is_grown=False)


def cost(client: FlaskClient, path: str, headers: dict[str, str], rounds: int) -> Cost:
    """What an address costs: the least of some rounds after a first."""
    spent = []
    for _ in range(rounds + 1):
        began = time.process_time()
        answer = client.get(path, headers=headers)
        content = answer.get_data()
        spent.append(time.process_time() - began)
        assert answer.status_code == 200, path
    # The first one also compiles templates and statements.
    return Cost(min(spent[1:]) * 1e3, len(content), len(gzip.compress(content, 5)))


def update(client: FlaskClient, line: seeds.Line, rounds: int) -> Cost:
    """What an open page costs when its training has gone on and committed a node."""
    costs = []
    for _ in range(rounds + 1):
        shown = re.search(r'hx-get="([^"]+)"', client.get("/runs/big").text)
        assert shown is not None
        line.log("loss", [line.step + 1], [2.0])
        line.commit("checkpoint", line.step)
        costs.append(cost(client, shown[1].replace("&amp;", "&"), _LIVE, 1))
    return min(costs, key=lambda update: update.cpu_ms)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("branches", 60),
        ("nodes", 80),
        ("steps", 14_500),
        ("rounds", 3),
        ("trials", 200),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    print(table(measure(**vars(parser.parse_args()))))

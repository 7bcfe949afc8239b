"""What branchtrack costs two processes that train together, where nothing is asked of them.

    python -m tests.benchmarks.bench_ranks [--rounds 12]

In one torchrun of two gloo processes blocks of updates alternate: with `run.batches`, `run.log` and
`run.step` ("on"), and without ("off"), each twice a round. Prints the medians, the ratio on / off
beside off / off, the messages that rank 0 sent and rank 1 read for each update, and how often
branchtrack called a collective of torch's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import branchtrack
from tests.training import several

UPDATES = 40
COLLECTIVES = """all_reduce broadcast all_gather all_gather_object barrier gather reduce scatter
    broadcast_object_list all_to_all monitored_barrier""".split()


def counted() -> list[str]:
    """Count, from here on, what branchtrack calls of torch's collectives; their names."""
    calls: list[str] = []

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if "branchtrack" in str(sys._getframe(1).f_globals.get("__name__")):
                calls.append(name)
            return function(*given, **named)

        return call

    for name in COLLECTIVES:
        setattr(dist, name, wrap(name, getattr(dist, name)))
    return calls


def measure(rounds: int) -> dict[str, Any]:
    """All blocks, as rank 0 measures them."""
    torch.manual_seed(0)
    model = DistributedDataParallel(
        torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(8)))
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    data = TensorDataset(torch.randn(4096, 512))
    loader = DataLoader(data, 32, sampler=DistributedSampler(data))
    plain = itertools.chain.from_iterable(itertools.repeat(loader))
    calls = counted()
    run = branchtrack.start("measured", model=model, optimizer=optimizer, data=loader)
    watched = run.batches()

    def update(batch: Any) -> torch.Tensor:
        loss: torch.Tensor = model(batch[0]).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def block(batches: Iterator[Any], *, on: bool) -> float:
        started = time.perf_counter()
        for batch in itertools.islice(batches, UPDATES):
            loss = update(batch).item()
            if on:
                run.log(loss=loss)
                run.step()
        return time.perf_counter() - started

    times: dict[str, list[float]] = {"off": [], "on": [], "off again": []}
    gate: Any = _gate(run)
    block(watched, on=True)
    before, count = gate.messages, 0
    for _ in range(rounds):
        times["off"].append(block(plain, on=False))
        times["on"].append(block(watched, on=True))
        times["off again"].append(block(plain, on=False))
        count += UPDATES
    messages = (gate.messages - before) / count
    run.finish()
    return {"times": times, "messages": messages, "collectives": len(calls)}


def _gate(run: Any) -> Any:
    session = run._session
    return session._gate if dist.get_rank() else session._lead._lead.gate


def child(rounds: int) -> None:
    """Measure in this process of two, and print it."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    results = measure(rounds)
    print("RESULT", json.dumps({"rank": dist.get_rank(), **results}), flush=True)
    dist.destroy_process_group()


def main() -> None:
    """Start two processes, and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    if "RANK" in os.environ:
        child(given.rounds)
        return
    with tempfile.TemporaryDirectory(prefix="branchtrack-ranks-") as folder:
        home = {"BRANCHTRACK_HOME": str(Path(folder) / "home")}
        module = "tests.benchmarks.bench_ranks"
        process = several.started("-m", module, "--rounds", str(given.rounds), variables=home)
        text = several.output(process)
    lines = [line.removeprefix("RESULT ") for line in text.split("\n") if "RESULT " in line]
    ranks = sorted((json.loads(line) for line in lines), key=lambda each: each["rank"])
    assert len(ranks) == 2, text[-4000:]
    times = {name: statistics.median(t) for name, t in ranks[0]["times"].items()}
    pairs = list(zip(*ranks[0]["times"].values(), strict=True))
    print(f"{UPDATES} updates: " + ", ".join(f"{n} {1e3 * t:.0f} ms" for n, t in times.items()))
    print(f"on / off          {statistics.median(on / off for off, on, _ in pairs):.3f}")
    print(f"off again / off   {statistics.median(again / off for off, _, again in pairs):.3f}")
    print(f"messages of an update: rank 0 {ranks[0]['messages']:.2f}, "
          f"rank 1 {ranks[1]['messages']:.2f}")  # fmt: skip
    print(f"collectives: {sum(rank['collectives'] for rank in ranks)}")


if __name__ == "__main__":
    main()

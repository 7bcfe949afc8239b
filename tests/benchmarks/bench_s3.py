"""What a commit costs the training thread with packs in a bucket, against packs in a folder.

    python -m tests.benchmarks.bench_s3 [--rounds 9] [--megabytes 64] [--to output/bench]

One process has two homes, one with a folder and one with a bucket of a real server (seaweedfs, on
this machine), and one model. In each round both commit the same fresh state, in turn and in another
order each time. Compared are

(a) stall: the time that `Committer.commit` takes on the calling thread, which is the copy;
(b) free: until the buffers can be used again: the folder's pack and transaction, the spool's pack
    and record;
(c) listed: until the node is listed, which for the bucket includes the upload.

Ratios are medians of the rounds' own; seconds are shown, and asserted nowhere. The first rounds of
both, which allocate the buffers, do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest import mock

import torch

from branchtrack.environment_variables import STORE_VARIABLE
from tests.s3_servers import BUCKET, Server
from tests.training.desks import Desk
from tests.training.homes import Home

#: The stall with a bucket may be this much of the stall with a folder.
STALL = 1.5
_WARM = 2


@dataclass
class Result:
    """Milliseconds are medians; the ratios are bucket / folder."""

    rounds: int
    state_mb: float
    stall_ms: dict[str, float]
    free_ms: dict[str, float]
    listed_ms: dict[str, float]
    stall_ratio: float
    free_ratio: float
    listed_ratio: float
    each: list[dict[str, dict[str, float]]] = field(default_factory=list)


def model_of(megabytes: float) -> torch.nn.Module:
    """Layers that take that much with the moments of AdamW, some of which are equal."""
    torch.manual_seed(0)
    width = max(8, int((megabytes * 1e6 / 4 / 3 / 4) ** 0.5))
    return torch.nn.Sequential(*(torch.nn.Linear(width, width, bias=False) for _ in range(4)))


@contextmanager
def desks(folder: Path, server: Server, megabytes: float) -> Iterator[dict[str, Desk]]:
    """A desk in a home with a folder, and one in a home with a bucket."""
    opened: dict[str, Desk] = {}
    for kind in ("folder", "bucket"):
        variables = {STORE_VARIABLE: f"s3://{BUCKET}/bench"} if kind == "bucket" else {}
        (folder / kind).mkdir()
        with mock.patch.dict(os.environ, {**server.environment(), **variables}):
            # The client reads the environment with its first request.
            home = Home(folder / kind)
            home.store.is_present()
            opened[kind] = Desk(home, model_of(megabytes))
    with mock.patch.dict(os.environ, server.environment()):
        yield opened
        for desk in opened.values():
            desk.close()
            desk.home.close()


def one_commit(desk: Desk, step: int) -> dict[str, float]:
    """Commit a state of which everything is new; milliseconds."""
    desk.update()
    started = time.perf_counter()
    listed = desk.commit(step, wait=False)
    times = {"stall": time.perf_counter() - started}
    assert desk.committer.free.wait(600)
    times["free"] = time.perf_counter() - started
    while not listed:
        time.sleep(0.001)
    times["listed"] = time.perf_counter() - started
    return {name: 1e3 * seconds for name, seconds in times.items()}


def measure(rounds: int, megabytes: float) -> Result:
    """Commit in both homes, round for round."""
    each: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder / "server")
        server.start()
        try:
            with desks(folder, server, megabytes) as opened:
                for number in range(_WARM + rounds):
                    kinds = sorted(opened, reverse=bool(number % 2))
                    times = {kind: one_commit(opened[kind], number) for kind in kinds}
                    each += [times] if number >= _WARM else []
                packs = [pack.nbytes for pack in opened["bucket"].home.store.packs()]
                nodes = len(opened["bucket"].home.nodes("tiny/main"))
        finally:
            server.stop()
    assert nodes == _WARM + rounds and len(packs) == nodes

    def median(kind: str, what: str) -> float:
        return statistics.median(times[kind][what] for times in each)

    def ratio(what: str) -> float:
        return statistics.median(times["bucket"][what] / times["folder"][what] for times in each)

    shown = {
        what: {kind: median(kind, what) for kind in ("folder", "bucket")}
        for what in ("stall", "free", "listed")
    }
    return Result(
        rounds,
        max(packs) / 1e6,
        shown["stall"],
        shown["free"],
        shown["listed"],
        ratio("stall"),
        ratio("free"),
        ratio("listed"),
        each,
    )


def as_text(result: Result) -> str:
    """The result as a table."""
    lines = [
        "# Commits into a folder and into a bucket",
        "",
        f"{result.rounds} rounds, {result.state_mb:.0f} MB of new state in each.",
        "",
        "| | folder ms | bucket ms | bucket / folder |",
        "| --- | --- | --- | --- |",
    ]
    for what in ("stall", "free", "listed"):
        times = getattr(result, f"{what}_ms")
        lines.append(
            f"| {what} | {times['folder']:.1f} | {times['bucket']:.1f} "
            f"| {getattr(result, f'{what}_ratio'):.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=float, default=64.0)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    result = measure(options.rounds, options.megabytes)
    print(as_text(result))
    if options.to is not None:
        options.to.mkdir(parents=True, exist_ok=True)
        (options.to / "s3.md").write_text(as_text(result))
        (options.to / "s3.json").write_text(json.dumps(asdict(result), indent=1))


if __name__ == "__main__":
    main()

"""What shards cost: a sample beside one of a plain list, a far position, a branch of many nodes.

    python -m tests.benchmarks.bench_live_data

A dataset of 30 shards with 100,000 items each is read in order beside a list of as many items, in
turn; a fresh process's first sample at positions up to ten million, as after a resume; and the
accounting of a branch with 2,000 nodes and 40 changes. Times are shown, and asserted nowhere.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import branchtrack
from branchtrack import config
from branchtrack.analysis.payloads_shards import branch_data
from branchtrack.checkpoints.location import open_store
from branchtrack.core.shards.composition import SETTING, Composition, Shard
from branchtrack.db import runs
from branchtrack.db.schema import open_database
from branchtrack.db.storage import texts
from branchtrack.training.data.live.drawing import Draws
from tests.web import seeds

SHARDS, ITEMS, SAMPLES, ROUNDS = 30, 100_000, 20_000, 5
NODES, CHANGES = 2_000, 40


def milliseconds(work: Callable[[], object]) -> float:
    """How long something took."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def samples() -> tuple[float, float]:
    """Microseconds of a sample of shards, and of a list; medians of rounds that take turns."""
    shards = {f"s{number}": range(ITEMS) for number in range(SHARDS)}
    data = branchtrack.LiveDataset(shards, length=SAMPLES * (ROUNDS + 1))
    plain = list(range(SAMPLES * (ROUNDS + 1)))
    times: dict[str, list[float]] = {"shards": [], "list": []}
    for number in range(ROUNDS + 1):
        positions = range(SAMPLES * number, SAMPLES * (number + 1))
        times["shards"].append(milliseconds(lambda p=positions: [data[i] for i in p]))
        times["list"].append(milliseconds(lambda p=positions: [plain[i] for i in p]))
    # The first round draws the orders of all shards.
    each = (statistics.median(rounds[1:]) * 1000 / SAMPLES for rounds in times.values())
    return next(each), next(each)


def positions() -> dict[int, float]:
    """Milliseconds until the first sample at a position is known, by position."""
    shards = tuple(Shard(f"s{n}", None, f"{n:064x}", ITEMS) for n in range(SHARDS))
    composition = Composition(shards)
    return {
        position: milliseconds(lambda p=position: Draws(0, composition).pick(p))
        for position in (10**5, 10**6, 10**7)
    }


def accounting() -> float:
    """Milliseconds of what `branchtrack data` reads of a long branch; a median."""
    with tempfile.TemporaryDirectory() as folder:
        home = config.load(Path(folder) / "home")
        database, store = open_database(home, create=True), open_store(home.store)
        line = seeds.Grower(database, store, "live").line("main")
        line.draw(100)
        for number in range(NODES):
            if number % (NODES // CHANGES) == 0:
                changed = seeds.AFTER.changed({}, weights={"chat": number + 2})
                with database.transaction() as connection:
                    texts.put(connection, changed.document)
                line.settings = {**line.settings, SETTING: changed.value}
            line.commit("checkpoint", 201 + number)

        def read() -> None:
            with database.read() as connection:
                branch_data(connection, runs.find_branch(connection, "live/main"))

        median = statistics.median(milliseconds(read) for _ in range(5))
        database.close()
    return median


def main() -> None:
    shards, plain = samples()
    print(f"a sample: {shards:.1f} us of {SHARDS} shards, {plain:.2f} us of a list")
    for position, passed in positions().items():
        print(f"the first sample at position {position:,}: {passed:.0f} ms")
    print(f"accounting of {NODES:,} nodes with {CHANGES} changes: {accounting():.0f} ms")


if __name__ == "__main__":
    main()

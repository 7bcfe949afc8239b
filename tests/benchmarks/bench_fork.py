"""What it costs to create a fork: milliseconds and bytes, whatever the size of the model.

    python -m tests.benchmarks.bench_fork [--forks 40] [--to output/bench]

A node has the state of a model of 22 million parameters with AdamW: 272 MB in 306 tensors. Forks of
it are ordered one after the other, as a page or the API does, in turn with forks of a node whose
state is one small tensor. Their bytes are those that the database and the store grow by, the
write-ahead log written back before each look. Milliseconds are shown, and asserted nowhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import text

from branchtrack import config, control
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from tests.trees_for_tests import make_tree

MILLISECONDS, BYTES = 10.0, 64 * 1024
#: A fork of the large model may take so many times as long as one of the small.
RATIO = 2.0
_LAYERS, _WIDTH = 102, 471
_PARTS = ("model", "optimizer/exp_avg", "optimizer/exp_avg_sq")


@dataclass
class Result:
    """``median_ms`` of creating a fork, ``small_ms`` of the small node's, ``bytes_each`` stored."""

    state_bytes: int
    forks: int
    median_ms: float
    small_ms: float
    bytes_each: float


def measure(forks: int = 40) -> Result:
    """Fork a large node again and again in a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = config.load(Path(folder) / "home")
        database, store = open_database(home, create=True), open_store(home.store)
        node, state_bytes = large_node(database, store)
        references = (node.id, "demo@10")
        for reference in references:
            control.create_launch(database, store, reference, actor="bench")
        before = stored(database, home.home)
        durations: dict[str, list[float]] = {reference: [] for reference in references}
        for number in range(forks):
            for reference in references:
                begun = time.perf_counter()
                settings = {"lr": f"{number + 1}e-4"}
                control.create_launch(database, store, reference, actor="bench", settings=settings)
                durations[reference].append(1000 * (time.perf_counter() - begun))
        grown = stored(database, home.home) - before
        database.close()
    large, small = (statistics.median(each) for each in durations.values())
    return Result(state_bytes, forks, large, small, grown / forks / 2)


def large_node(database: Database, store: Store) -> tuple[Node, int]:
    """A run whose second node has the large state, in one pack."""
    tree = make_tree(database, store)
    root = tree.node("main", 0, kind="root")
    rng = np.random.default_rng(0)
    tensors, entries = [], []
    for part in _PARTS:
        for layer in range(_LAYERS):
            data = rng.standard_normal((_WIDTH, _WIDTH), dtype="<f4")
            name, shape = f"{part}/{layer}", (_WIDTH, _WIDTH)
            tensor = TensorBytes(name, "F32", shape, memoryview(data).cast("B"))
            digest = tensor_digest("F32", shape, tensor.data)
            tensors.append((digest, tensor))
            entries.append(Entry(name, "F32", shape, digest))
    manifest, pack = Manifest(tuple(entries), {}), store.put(tensors, {})
    with database.transaction() as connection:
        nodes.add_checkpoint(
            connection,
            manifest.digest,
            manifest.to_json(),
            tensor_count=len(entries),
            logical_bytes=manifest.logical_bytes,
            pack=(pack.id, pack.nbytes),
            locations=pack.locations,
        )
    node = tree.node("main", 10, root)
    with database.transaction() as connection:
        new = tree.planned("main", 20, node, manifest.digest)
        return nodes.commit(connection, new), manifest.logical_bytes


def stored(database: Database, home: Path) -> int:
    """The bytes of the home's files."""
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


def table(result: Result) -> str:
    """The result as a table in Markdown."""
    return "\n".join(
        [
            "| a fork of a node | measured | target |",
            "| --- | --- | --- |",
            f"| state | {result.state_bytes / 1e6:.0f} MB | |",
            f"| created in (median) | {result.median_ms:.1f} ms | {MILLISECONDS:.0f} ms |",
            f"| of a small model | {result.small_ms:.1f} ms | |",
            f"| stored | {result.bytes_each / 1024:.1f} KiB | {BYTES / 1024:.0f} KiB |",
        ]
    )


def write(result: Result, folder: Path) -> None:
    """Write the result as JSON and Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fork.json").write_text(json.dumps(asdict(result), indent=2))
    (folder / "fork.md").write_text(table(result) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=40)
    parser.add_argument("--to", type=Path, default=Path("output/bench"))
    options = parser.parse_args()
    result = measure(options.forks)
    write(result, options.to)
    print(table(result))


if __name__ == "__main__":
    main()

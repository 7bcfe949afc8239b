"""What commands on a large tree take: `tree`, `diff`, `gc --dry-run` and `storage`.

    python -m tests.benchmarks.bench_storage [--nodes 10000] [--deep 500] [--rounds 3]

The tree is one database with so many nodes, in chains of ``deep`` nodes whose checkpoints have ten
tensors each, of which two are shared. Each command is a process of its own, as at a shell; the
least of a few rounds is told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config, load
from branchtrack.core.names import new_id
from branchtrack.core.records import Node
from branchtrack.db import seals, tables
from branchtrack.db.engine import Database
from branchtrack.db.nodes import record
from branchtrack.db.schema import open_database
from tests.retention.trees import certify, commit
from tests.trees_for_tests import Tree, make_tree

_ROLES = ("model", "model", "model", "optimizer", "optimizer", "optimizer", "scheduler", "rng")
_NBYTES = 4096


def measure(nodes: int, deep: int, rounds: int) -> dict[str, float]:
    """The seconds of each command."""
    with tempfile.TemporaryDirectory() as folder:
        config = load(Path(folder) / "home")
        database = open_database(config, create=True)
        tree = make_tree(database, open_store(config.store), "big")
        names = _grow(database, tree, nodes, deep)
        database.close()
        commands = {
            "tree": ["tree", "big"],
            "diff": ["diff", f"big/{names[0]}", f"big/{names[-1]}"],
            "gc --dry-run": ["gc", "big", "--keep", "thin", "--dry-run"],
            "storage": ["storage"],
        }
        return {
            name: min(_seconds(config, words) for _ in range(rounds))
            for name, words in commands.items()
        }


def table(seconds: dict[str, float]) -> str:
    """The times in columns."""
    return "\n".join(f"{name:14} {1e3 * value:8.0f} ms" for name, value in seconds.items())


def _grow(database: Database, tree: Tree, nodes: int, deep: int) -> list[str]:
    """Add branches of ``deep`` nodes, and return their names."""
    root = commit(tree, "main", 0, None, "root")
    names = ["main"]
    _chain(database, tree, "main", root, deep - 1)
    for number in range(1, nodes // deep):
        names.append(f"try-{number}")
        tree.branch(names[-1], root)
        fork = commit(tree, names[-1], 0, root, "fork")
        last = _chain(database, tree, names[-1], fork, deep - 1)
        if number % 2:
            certify(database, fork, last)
    return names


def _chain(database: Database, tree: Tree, branch: str, start: Node, count: int) -> Node:
    """Write a chain of nodes with rows alone: their files would never be read."""
    segment, parent = tree.segment(branch), start.id
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in ("c", "p", "t", "n")}
    with database.read() as connection:
        plain = connection.execute(tables.nodes.select().limit(1)).mappings().one()
    for step in range(1, count + 1):
        pack = _digest(branch, step)[:32]
        entries = [[f"model/shared{i}", "F32", [1024], _digest("shared", i)] for i in range(2)]
        own = [
            [f"{role}/tensor{i}", "F32", [1024], _digest(branch, step, i)]
            for i, role in enumerate(_ROLES)
        ]
        manifest = {"format": "branchtrack-manifest-1", "tensors": entries + own, "state": {}}
        digest, node = _digest(branch, step, "c"), new_id()
        blob = zlib.compress(json.dumps(manifest, separators=(",", ":")).encode(), 1)
        sizes = {"logical_bytes": 10 * _NBYTES, "stored_bytes": 8 * _NBYTES, "created_at": 1.0}
        rows["c"].append({"digest": digest, "manifest": blob, "tensors": 10, **sizes})
        rows["p"].append({"id": pack, "nbytes": 8 * _NBYTES + 1500, "created_at": 1.0})
        rows["t"] += [
            {
                "digest": entry[3],
                "pack": pack,
                "name": entry[0],
                "dtype": "F32",
                "shape": [1024],
                "offset": 1500 + i * _NBYTES,
                "nbytes": _NBYTES,
            }
            for i, entry in enumerate(own)
        ]
        facts = {"id": node, "branch_id": segment.branch_id, "segment_id": segment.id}
        facts |= {"parent_id": parent, "step": 10 * step, "kind": "checkpoint"}
        facts |= {"state_digest": digest, "metrics": {"loss": 1.0 / step}}
        rows["n"].append({**{k: v for k, v in plain.items() if k != "seq"}, **facts})
        parent = node
    with database.transaction() as connection:
        connection.execute(tables.checkpoints.insert(), rows["c"])
        connection.execute(tables.packs.insert(), rows["p"])
        connection.execute(tables.tensors.insert(), rows["t"])
        connection.execute(tables.nodes.insert(), rows["n"])
        head = tables.branches.update().where(tables.branches.c.id == segment.branch_id)
        connection.execute(head.values(head_id=parent))
        seals.renew(connection, tables.branches, segment.branch_id)
        row = connection.execute(tables.nodes.select().where(tables.nodes.c.id == parent)).one()
    return record(row)


def _digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _seconds(config: Config, words: list[str]) -> float:
    command = [sys.executable, "-m", "branchtrack", "--home", str(config.home), *words]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ})
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("nodes", 10_000), ("deep", 500), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    print(table(measure(**vars(parser.parse_args()))))

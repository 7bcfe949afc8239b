"""Two homes, a run in one of them, and the functions that move it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from branchtrack import control
from branchtrack.bundles import Bundle, Merge, departure, merges
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.control import leftovers
from branchtrack.core.records import Node
from branchtrack.db import audit, integrity, metrics, nodes, segments
from branchtrack.db.engine import Database
from tests.trees_for_tests import Tree, make_forked_tree


@dataclass
class Home:
    """A home that bundles are made from and arrive in."""

    config: Config
    database: Database

    @property
    def store(self) -> Store:
        """Its packs."""
        return open_store(self.config.store)

    def bundle(self, ref: str, path: Path, **how: Any) -> Path:
        """A bundle of a run of this home."""
        departure.write(self.database, self.store, ref, path, **how)
        return path

    def unbundle(self, path: Path, **how: Any) -> Merge:
        """What became of a bundle here."""
        owner = leftovers.pack_owner(self.database, self.store, "test:1:1")
        with Bundle(path) as bundle:
            bundle.check()
            return merges.unbundle(self.database, self.store, self.config, bundle, owner, **how)

    def problems(self) -> list[str]:
        """What `verify --all` would find in the database, and every node that is not whole."""
        with self.database.read() as connection:
            found = [str(problem) for problem in integrity.of_database(connection)]
            every = [nodes.get(connection, node_id) for node_id in nodes.list_ids(connection)]
        for node in every:
            if self.thinned(node) is None:
                control.verify_node(self.database, self.store, node)
        return found

    def thinned(self, node: Node) -> str | None:
        """What is left of a node's checkpoint here."""
        with self.database.read() as connection:
            return nodes.thinned(connection, node.state_digest)

    def links(self, run_id: str) -> list[str]:
        """The hashes of a run's events."""
        with self.database.read() as connection:
            return audit.links(connection, run_id)

    def curves(self, run_id: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """Every point of a run by segment and metric."""
        curves = {}
        with self.database.read() as connection:
            ids = [segment.id for segment in segments.list_of_run(connection, run_id)]
            for name in metrics.names(connection, ids):
                for segment_id, series in metrics.read(connection, ids, name).items():
                    points = zip(series.steps.tolist(), series.values.tolist(), strict=True)
                    curves[segment_id, name] = list(points)
        return curves


def ended_tree(home: Home, **how: Any) -> tuple[Tree, list[Node]]:
    """`make_forked_tree`, whose branches have ended."""
    tree, line = make_forked_tree(home.database, home.store, **how)
    for branch in ("main", "cooler"):
        tree.end(branch)
    return tree, line

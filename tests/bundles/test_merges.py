"""A run moves between homes whole, in parts and again, or nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import trust
from branchtrack.bundles import merges
from branchtrack.bundles.tensors import Arrivals
from branchtrack.core.records import Node
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.errors import InvalidInput
from tests.bundles.homes import Home, ended_tree
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


def test_a_run_arrives_as_it_was(there: Home, here: Home, forked: Forked, tmp_path: Path) -> None:
    tree, line = forked
    tree.database.read()
    merge = here.unbundle(there.bundle("demo", tmp_path / "b"))
    assert merge.plan.kind == "new" and merge.plan.events == 0
    assert here.problems() == []
    assert here.links(tree.run.id) == there.links(tree.run.id)
    assert here.curves(tree.run.id) == there.curves(tree.run.id) != {}
    for node in line:
        with here.database.read() as connection:
            arrived = nodes.checkpoint(connection, nodes.get(connection, node.id).state_digest)
        with there.database.read() as connection:
            original = nodes.checkpoint(connection, node.state_digest)
        assert arrived.manifest == original.manifest
        for digest, location in arrived.locations.items():
            assert here.store.read(location) == there.store.read(original.locations[digest])

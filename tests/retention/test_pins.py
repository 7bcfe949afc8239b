"""A pin keeps a checkpoint, and is refused where there is nothing left to keep."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.db import audit, integrity, nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.errors import CheckpointThinned, Forbidden
from branchtrack.retention import pins
from tests.retention.trees import chain
from tests.trees_for_tests import make_tree


def test_a_pin_is_set_once_logged_and_taken_away(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    node = chain(tree, count=2)[1]
    assert pins.set_pinned(database, node.id, True, "ada")
    assert not pins.set_pinned(database, node.id, True, "ada")
    with database.read() as connection:
        assert nodes.get(connection, node.id).pinned_at is not None
    assert pins.set_pinned(database, node.id, False, "ada")
    with database.read() as connection:
        assert nodes.get(connection, node.id).pinned_at is None
        events = audit.after(connection, tree.run.id, 0, 99)
        assert [e.state for e in events if e.kind == "pin"] == ["pinned", "unpinned"]
        assert integrity.of_database(connection) == []


def test_a_thinned_node_cannot_be_pinned(sqlite_database: Database, store: Store) -> None:
    node = chain(make_tree(sqlite_database, store), count=2)[1]
    with sqlite_database.transaction() as connection:
        thinning.mark(connection, {node.state_digest: "recipe"})
    with pytest.raises(CheckpointThinned):
        pins.set_pinned(sqlite_database, node.id, True, "ada")


def test_a_viewer_may_not_pin(sqlite_database: Database, store: Store) -> None:
    node = chain(make_tree(sqlite_database, store), count=2)[1]
    with pytest.raises(Forbidden):
        pins.set_pinned(sqlite_database, node.id, True, Actor("v", "viewer", "api", "t"))

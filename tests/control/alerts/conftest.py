"""A run with two branches, and alerts about it."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from tests.trees_for_tests import Tree, make_forked_tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def forked(database: Database, store: Store) -> Forked:
    """``main`` with nodes at 0, 10, 20 and 30, and ``cooler`` from 10 with nodes at 10 and 20."""
    return make_forked_tree(database, store)

"""A run that something watches."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run with one branch."""
    return make_tree(database, store)

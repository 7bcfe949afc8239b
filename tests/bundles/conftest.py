"""A home that has a run, and one that it goes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack.config import Config, load
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from tests.bundles.homes import Home, ended_tree
from tests.new_homes import new_database
from tests.trees_for_tests import Tree


@pytest.fixture
def there(sqlite_config: Config, sqlite_database: Database) -> Home:
    """The home that runs come from."""
    return Home(sqlite_config, sqlite_database)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Home]:
    """The home that they go to."""
    config = load(tmp_path / "here")
    new_database(config).close()
    database = open_database(config)
    yield Home(config, database)
    database.close()


@pytest.fixture
def forked(there: Home) -> tuple[Tree, list[Node]]:
    """A run that has ended, with branches ``main`` and ``cooler``, in the first home."""
    return ended_tree(there)

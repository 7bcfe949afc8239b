"""A home with a forked tree, and the command line called on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from branchtrack.checkpoints.packs import Store
from branchtrack.cli.main import cli
from branchtrack.config import Config
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from tests.launching import fake_training
from tests.launching.helpers import SCRIPT, environment
from tests.trees_for_tests import Tree, make_forked_tree


@dataclass
class Called:
    """What a command did: its exit code, what it printed, and that as JSON."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


Call = Callable[..., Called]


def call_on(home: Path, *arguments: str) -> Called:
    """Call the command line on a home, in this process."""
    found = CliRunner().invoke(cli, ["--home", str(home), *arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Called(found.exit_code, found.stdout, found.stderr)


@pytest.fixture
def call(sqlite_config: Config) -> Call:
    """Calls the command line on the test's own home."""
    return partial(call_on, sqlite_config.home)


@pytest.fixture
def forked(sqlite_database: Database, store: Store) -> tuple[Tree, list[Node]]:
    """A run ``demo`` with branches main and cooler, both trained by this process."""
    return make_forked_tree(sqlite_database, store)


@pytest.fixture
def damaged(forked: tuple[Tree, list[Node]]) -> Node:
    """A node of which one byte in the store is flipped."""
    tree, tree_nodes = forked
    with tree.database.read() as connection:
        stored = nodes.checkpoint(connection, tree_nodes[1].state_digest)
    location = next(iter(stored.locations.values()))
    path = Path(tree.store.describe(location.pack))
    content = bytearray(path.read_bytes())
    content[location.offset] ^= 1
    path.write_bytes(content)
    return tree_nodes[1]


def train_here(config: Config, *options: str) -> None:
    """Train a run ``fake`` to its end as `train_fake` does, only in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(config).items():
            patch.setenv(name, value)
        patch.chdir(config.home)
        # The command of the run, with which a resume starts a process.
        patch.setattr(sys, "argv", [str(SCRIPT), "fake", *options])
        with pytest.raises(SystemExit, match="0"):
            fake_training.main()

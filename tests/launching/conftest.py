"""A run that a real process trained, and what it takes to launch it again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from branchtrack import control, processes
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.launching.worker import Worker
from tests.launching.helpers import train_fake

Train = Callable[..., None]


@pytest.fixture
def config(sqlite_config: Config) -> Config:
    """SQLite alone: what differs on PostgreSQL is tested in `tests/db`, and once in test_worker."""
    return sqlite_config


@pytest.fixture
def train(config: Config) -> Train:
    """Train a run ``fake`` in a process of its own."""

    return lambda *options: train_fake(config, *options)


@pytest.fixture
def order(database: Database, store: Store) -> Callable[..., Launch]:
    """Order a launch from a node of the run ``fake``."""

    def make(name: str, node: str = "fake", **how: str) -> Launch:
        return control.create_launch(database, store, node, actor="me", name=name, settings=how)

    return make


@pytest.fixture
def worker(database: Database, config: Config) -> Iterator[Worker]:
    """A worker whose children do not outlive the test."""
    hired = Worker(database, config)
    yield hired
    for child in hired.children.values():
        if child.process is not None:
            with child.process:
                child.process.kill()


@pytest.fixture
def dead_worker() -> str:
    """The name of a process of this machine that runs no more."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        own = processes.own_name().split(":")
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        process.communicate(b"\n")
    return f"{own[0]}:{process.pid}:{start}"

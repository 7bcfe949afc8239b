"""A run that a real process trained, and what it takes to launch it again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from branchtrack import control, processes, trust
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.launching.worker import Worker
from tests.launching.helpers import SCRIPT, change_entry_point, train_fake
from tests.new_homes import new_database

Train = Callable[..., None]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a process has trained a run ``fake`` to its end at step 2, to be copied."""
    config = load(tmp_path_factory.mktemp("template") / "home")
    new_database(config).close()
    train_fake(config, "--steps", "2")
    return config.home


@pytest.fixture
def config(template: Path, tmp_path: Path) -> Config:
    """A home with a run ``fake``.

    SQLite alone: what differs on PostgreSQL is tested in `tests/db`, and once in test_worker.
    """
    copied = load(shutil.copytree(template, tmp_path / "home"))
    trust.mark(copied)
    return copied


@pytest.fixture
def train(database: Database) -> Train:
    """Let the run ``fake`` have been trained with other options: a launch trains with them."""

    def with_options(*options: str) -> None:
        change_entry_point(database, argv=[sys.executable, str(SCRIPT), "fake", *options])

    return with_options


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

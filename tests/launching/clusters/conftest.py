"""Launches for a real Slurm, and one who looks after them without waiting long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from branchtrack import control, processes
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.launchers import profiles
from branchtrack.core.records import Launch
from branchtrack.db import segments, tables
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches, queue
from branchtrack.launching.clusters import registry
from branchtrack.launching.clusters.shepherd import Shepherd
from branchtrack.launching.clusters.watch import current
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.helpers import ROOT

Until = Callable[[Callable[[], Any]], None]


@pytest.fixture
def on_slurm(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Launch]:
    """Order a launch of the run ``fake`` for Slurm, with options for its job."""
    # What a job inherits: this checkout.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def make(name: str, *options: str, **how: Any) -> Launch:
        launcher = profiles.launcher("slurm", "slurm", options)
        order = control.ForkOrder(["fake@0"], how.pop("settings", {}), name=name)
        (launch,) = control.create_launches(
            database, store, order, actor="me", launcher=launcher, **how
        )
        return launch

    return make


@pytest.fixture
def shepherd(database: Database, config: Config) -> Shepherd:
    return Shepherd(database, config, processes.own_name(), every=0.2)


@pytest.fixture
def until(shepherd: Shepherd) -> Until:
    """Look after the jobs until something comes true."""

    def wait(condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 90.0
        while not condition():
            assert time.monotonic() < deadline, "it did not come true in time"
            shepherd.look()
            time.sleep(0.1)

    return wait


@pytest.fixture
def now(database: Database) -> Callable[[Launch], Launch]:
    """The launch as it is now, or the one that goes on with it."""
    return lambda launch: current(database, launch.id)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A cluster that stands for Slurm."""
    cluster = FakeCluster()
    monkeypatch.setattr(registry, "_CLUSTERS", {"slurm": lambda options: cluster})
    return cluster


@pytest.fixture
def look(shepherd: Shepherd) -> Callable[[], None]:
    """Look after the jobs once."""
    return lambda: shepherd.look(at_once=True)


@pytest.fixture
def fall_silent(database: Database) -> Callable[[Launch], None]:
    """Have the process that trains a launch have given no sign of life for long."""

    def silence(launch: Launch) -> None:
        with database.transaction() as connection:
            row = tables.segments.c.id == launch.segment_id
            connection.execute(tables.segments.update().where(row).values(heartbeat_at=1.0))

    return silence


@pytest.fixture
def claim(database: Database) -> Callable[[Launch], Launch]:
    """Have a worker in the job of a launch begin it, as far as the database knows."""

    def begin(launch: Launch, *, trains: bool = True) -> Launch:
        with database.transaction() as connection:
            present = launches.get(connection, launch.id)
            columns = jobs.of_claim(present.job or "", "n01")
            queue.claim(connection, "n01:1:1", launch.id, job=columns)
            if not trains:
                return launches.get(connection, launch.id)
            started = launches.move(connection, launch.id, "running", "n01:1:1", pid=1)
            how: Any = {"actor": "fake", "declared": [], "settings": {}, "max_steps": 9}
            segments.take(connection, launch.segment_id, **how)
            return started

    return begin

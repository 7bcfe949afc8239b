"""What a launch's process is started with in one of several slots."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.db.tables import nodes
from branchtrack.launching import devices, starts
from branchtrack.launching.starts import Start
from tests.launching.helpers import change_entry_point

#: What a process gets besides if others train beside it.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}

Order = Callable[..., Launch]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests themselves run with a number of threads."""
    for name in (*devices.THREADS, devices.DEVICES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def prepared(database: Database, store: Store) -> Callable[..., Start]:
    """How a launch that a worker claimed would be started."""

    def make(
        slots: int = 2, device: str | None = None, threads: int | None = None, **order: Any
    ) -> Start:
        launch = control.create_launch(
            database, store, "fake", actor="me", environment={"given": order, "keep": False}
        )
        with database.transaction() as connection:
            connection.execute(nodes.update().values(environment={"threads": threads}))
            claimed = queue.claim(connection, "w", launch.id, device=device)
            assert claimed is not None
            return starts.prepare(connection, claimed, slots=slots, home=store.home)

    return make


def test_with_one_slot_nothing_is_assigned(prepared: Callable[..., Start]) -> None:
    start = prepared(slots=1, threads=8)
    assert start.variables == {}
    assert start.facts["device"] is None and "slot" not in start.facts["environment"]


def test_the_threads_are_those_that_the_node_was_trained_with(
    prepared: Callable[..., Start],
) -> None:
    start = prepared(threads=8)
    assert start.variables == {"OMP_NUM_THREADS": "8", **PASSIVE}
    assert start.facts["environment"]["slot"] == ["OMP_NUM_THREADS", "OMP_WAIT_POLICY"]


def test_where_the_node_says_none_they_are_a_share_of_the_cores(
    prepared: Callable[..., Start],
) -> None:
    share = devices.share_of_threads(3)
    assert prepared(slots=3).variables == {"OMP_NUM_THREADS": str(share), **PASSIVE}


@pytest.mark.parametrize("name", devices.WAITING)
def test_what_threads_do_meanwhile_may_be_chosen(
    prepared: Callable[..., Start], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert prepared(threads=8).variables == {"OMP_NUM_THREADS": "8"}


@pytest.mark.parametrize("name", devices.THREADS)
@pytest.mark.parametrize("where", ["worker", "command", "order"])
def test_threads_that_are_set_anywhere_stay(
    prepared: Callable[..., Start],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    name: str,
) -> None:
    if where == "worker":
        monkeypatch.setenv(name, "5")
    elif where == "command":
        change_entry_point(database, env={name: "5"})
    start = prepared(threads=8, **({name: "5"} if where == "order" else {}))
    assert devices.THREADS[0] not in start.variables or name in start.variables
    assert start.variables.get(name, "5") == "5"
    assert start.facts["environment"]["slot"] == ["OMP_WAIT_POLICY"]


def test_a_device_is_assigned_anew(prepared: Callable[..., Start], database: Database) -> None:
    change_entry_point(database, env={devices.DEVICES: "3", "OMP_NUM_THREADS": "1"})
    start = prepared(device="GPU-a")
    assert start.variables == {devices.DEVICES: "GPU-a", **PASSIVE}
    assert start.facts["device"] == "GPU-a"


def test_a_device_that_the_order_chose_stays(prepared: Callable[..., Start]) -> None:
    start = prepared(device="GPU-a", threads=1, **{devices.DEVICES: "1"})
    assert start.variables == {devices.DEVICES: "1", "OMP_NUM_THREADS": "1", **PASSIVE}
    assert start.facts["device"] is None


def test_no_value_of_a_variable_is_recorded(prepared: Callable[..., Start]) -> None:
    assert os.environ.get("MINE") is None
    start = prepared(threads=2, MINE="secret-looking")
    assert start.facts["environment"]["slot"] == ["OMP_NUM_THREADS", "OMP_WAIT_POLICY"]


def test_a_launch_ordered_before_the_project_moved_with_its_home_is_started_there(
    prepared: Callable[..., Start], database: Database, store: Store
) -> None:
    (store.home.parent / "train.py").write_text("pass\n")
    command = {"argv": ["python", "/no/such/train.py"], "cwd": "/no/such", "env": {}}
    prepared()
    with database.transaction() as connection:
        launch = launches.unfinished(connection)[0]
        old = replace(launch, entry_point={**command, "from_home": ".."})
        start = starts.prepare(connection, old, slots=1, home=store.home)
    folder = store.home.resolve().parent
    assert start.entry_point is not None
    assert start.entry_point["argv"] == ["python", str(folder / "train.py")]

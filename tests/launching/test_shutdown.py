"""A worker that ends leaves no process behind, and what had not begun to train waits again."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

import pytest

from branchtrack import processes
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import workers
from branchtrack.errors import StorageError
from branchtrack.launching import children, shutdown
from branchtrack.launching.worker import Worker
from tests.launching.helpers import (
    SCRIPT,
    branchtrack,
    change_entry_point,
    reread,
    segment_status,
    wait_until,
)

Order = Callable[..., Launch]
SLOW = [sys.executable, str(SCRIPT), "fake", "--steps", "900", "--seconds", "0.05"]
DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(600)"
)


@pytest.fixture
def running(order: Order, worker: Worker, database: Database) -> Callable[..., Launch]:
    """Start a launch of a command."""

    def start(argv: list[str]) -> Launch:
        change_entry_point(database, argv=argv)
        launch = worker.claim(order("next").id)
        assert launch is not None
        return launch

    return start


def test_a_training_makes_its_node_and_the_worker_is_forgotten(
    running: Callable[..., Launch], worker: Worker, database: Database
) -> None:
    launch = running([*SLOW, "--on-sigterm"])
    wait_until(lambda: segment_status(database, launch) == "running")
    said: list[str] = []
    worker.say = said.append
    shutdown.stop_children(worker, threading.Event())
    assert (reread(database, launch).state, segment_status(database, launch)) == (
        "ended",
        "stopped",
    )
    assert worker.children == {} and not processes.is_alive(launch.pid or 0)
    assert said[0] == f"Waiting for a node and the end of fake/next (pid {launch.pid})"
    with database.read() as connection:
        assert workers.heard_of(connection) == []


def test_what_had_not_begun_to_train_waits_again(
    running: Callable[..., Launch], worker: Worker, database: Database
) -> None:
    launch = running([sys.executable, "-c", "import time; time.sleep(600)"])
    shutdown.stop_children(worker, threading.Event())
    again = reread(database, launch)
    assert (again.state, again.worker, again.pid) == ("queued", None, None)
    assert not processes.is_alive(launch.pid or 0)


@pytest.mark.parametrize("how", ["in time", "at a second signal"])
def test_a_process_that_does_not_end_is_killed(
    running: Callable[..., Launch],
    worker: Worker,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    launch = running([sys.executable, "-c", DEAF])
    log = worker.config.logs / f"{launch.id}.log"
    wait_until(lambda: "deaf" in log.read_text())
    hurry = threading.Event()
    if how == "in time":
        monkeypatch.setattr(children, "GRACE", 0.1)
    else:
        hurry.set()
    shutdown.stop_children(worker, hurry)
    assert not processes.is_alive(launch.pid or 0)
    assert reread(database, launch).state == "queued"


def test_a_database_that_fails_does_not_hold_up_the_end_for_ever(
    running: Callable[..., Launch],
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = running([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(shutdown, "PATIENCE", 0.3)
    said: list[str] = []
    worker.say = said.append

    def fail(**_how: object) -> list[Launch]:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(worker, "collect", fail)
    shutdown.stop_children(worker, threading.Event())
    assert not processes.is_alive(launch.pid or 0)
    assert said[-1] == "The disk is full. The next worker records how they ended."


FOR_LONG = [*SLOW, "--on-sigterm"]


@pytest.mark.parametrize("command", [("serve", "--port", "0", "--slots", "2"), ("worker",)])
def test_a_command_that_ends_leaves_no_process_and_says_what_it_waits_for(
    order: Order, database: Database, config: Config, command: tuple[str, ...]
) -> None:
    change_entry_point(database, argv=FOR_LONG)
    launch = order("next")
    with branchtrack(config, *command) as process:
        wait_until(lambda: segment_status(database, launch) == "running")
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "Waiting for a node and the end of fake/next" in printed and "Traceback" not in printed
    ended = reread(database, launch)
    assert (ended.state, segment_status(database, launch)) == ("ended", "stopped")
    assert not processes.is_alive(ended.pid or 0)


def test_a_training_that_is_left_running_is_watched_by_the_next_worker(
    order: Order, database: Database, config: Config, worker: Worker
) -> None:
    change_entry_point(database, argv=FOR_LONG)
    launch = order("next")
    with branchtrack(config, "worker", "--leave-running") as process:
        wait_until(lambda: segment_status(database, launch) == "running")
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 130 and "continues by itself" in printed
    pid = reread(database, launch).pid or 0
    assert processes.is_alive(pid)
    worker.recover()
    assert list(worker.children) == [launch.id]
    shutdown.stop_children(worker, threading.Event())
    assert not processes.is_alive(pid)
    assert reread(database, launch).state == "ended"

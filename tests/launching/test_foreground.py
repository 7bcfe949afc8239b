"""A launch carried out while somebody looks on, or handed to a worker of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from branchtrack.config import Config
from branchtrack.core.records import Launch, Segment
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.errors import LaunchFailed, StorageError
from branchtrack.launching import foreground
from branchtrack.launching.worker import Worker
from tests.launching.helpers import ROOT, reread, segment_status, wait_until

Order = Callable[..., Launch]
Train = Callable[..., None]


def ignore(_launch: Launch, _segment: Segment) -> None:
    """A watcher that does not look."""


def test_who_looks_on_sees_every_state(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "8", "--seconds", "0.1")
    launch = order("next", node="fake/main", lr="0.5")
    seen: list[tuple[str, str, int]] = []
    ended = foreground.run_launch(
        worker, launch.id, lambda found, part: seen.append((found.state, part.status, part.step))
    )
    assert ended.state == "ended"
    states = list(dict.fromkeys(state for state, _status, _step in seen))
    assert states == ["queued", "running", "ended"]
    assert seen[-1][1:] == ("finished", 8)


@pytest.mark.parametrize("run", ["run_launch", "run_launches"])
def test_a_database_that_fails_while_it_trains_is_tried_again(
    run: str, train: Train, order: Order, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("--steps", "3", "--seconds", "0.1")
    launch, get = order("next"), launches.get
    fails = iter([True])

    def failing(*arguments: Any) -> Launch:
        if worker.children and next(fails, False):
            raise StorageError("The connection was ended.")
        return get(*arguments)

    monkeypatch.setattr(launches, "get", failing)
    if run == "run_launch":
        ended = foreground.run_launch(worker, launch.id, ignore)
    else:
        (ended,) = foreground.run_launches(worker, [launch.id], ignore)
    assert ended.state == "ended" and next(fails, None) is None


def test_a_launch_that_another_worker_has_is_only_watched(
    train: Train, order: Order, worker: Worker, database: Database, config: Config
) -> None:
    train("--steps", "5", "--seconds", "0.1")
    launch = order("next")
    other = Worker(database, config)
    assert other.claim(launch.id) is not None
    thread = threading.Thread(target=other.run, args=(threading.Event(),), kwargs={"once": True})
    thread.start()
    assert foreground.run_launch(worker, launch.id, ignore).state == "ended"
    thread.join()
    assert worker.children == {}
    assert reread(database, launch).worker == other.name


def test_a_launch_whose_worker_died_is_taken_over(
    train: Train,
    order: Order,
    worker: Worker,
    database: Database,
    dead_worker: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreground, "RECOVER_EVERY", 0.1)
    train()
    launch = order("next")
    with database.transaction() as connection:
        queue.claim(connection, dead_worker, launch.id)
    assert foreground.run_launch(worker, launch.id, ignore).state == "ended"
    assert reread(database, launch).worker == worker.name


def test_a_detached_launch_trains_without_its_parent(
    train: Train,
    order: Order,
    database: Database,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    train("--steps", "3")
    launch = order("next")
    foreground.detach(config, launch.id)
    wait_until(lambda: reread(database, launch).state == "ended")
    assert segment_status(database, launch) == "finished"


def test_a_worker_that_cannot_be_started_leaves_the_launch_queued(
    train: Train,
    order: Order,
    database: Database,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreground, "_DETACH", ("/no/such/shell",))
    train()
    launch = order("next")
    with pytest.raises(LaunchFailed, match="stays queued"):
        foreground.detach(config, launch.id)
    assert reread(database, launch).state == "queued"


def test_several_launches_are_carried_out_as_many_at_a_time_as_there_are_jobs(
    train: Train, order: Order, database: Database, config: Config
) -> None:
    train("--steps", "6", "--seconds", "0.1")
    ordered = [order(name, node="fake/main@0").id for name in ("a", "b", "c")]
    other = order("not-mine").id
    worker, at_once, seen = Worker(database, config, slots=2), [], set()

    def watch(launch: Launch, _segment: Segment) -> None:
        at_once.append(len(worker.children))
        seen.add(launch.id)

    ended = foreground.run_launches(worker, ordered, watch)
    assert [(launch.id, launch.state) for launch in ended] == [(key, "ended") for key in ordered]
    assert max(at_once) == 2 and seen == set(ordered)
    with database.read() as connection:
        assert launches.get(connection, other).state == "queued"

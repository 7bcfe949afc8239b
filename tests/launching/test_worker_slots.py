"""What a worker of several slots gives its launches, and how it ends one that is cancelled."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.records import Launch, WorkerRow
from branchtrack.db import audit, nodes, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import queue, workers
from branchtrack.launching import local_process
from branchtrack.launching.worker import Worker, in_background
from tests.launching.helpers import (
    change_entry_point,
    is_withdrawn,
    reread,
    segment_status,
    wait_until,
)

Order = Callable[..., Launch]
Train = Callable[..., None]


def run_to_the_end(worker: Worker) -> None:
    worker.run(threading.Event(), once=True)


@contextmanager
def entry_point(database: Database, **changes: object) -> Iterator[None]:
    """Let the run ``fake`` have recorded something else."""
    change_entry_point(database, **changes)
    yield


FOR_LONG = ["--steps", "900", "--seconds", "0.05", "--on-sigterm"]


def test_a_cancelled_training_makes_a_node_and_ends(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train(*FOR_LONG)
    launch = order("next")
    assert worker.claim() is not None
    wait_until(lambda: segment_status(database, launch) == "running")
    control.cancel_launch(database, launch.id, actor="bob")
    wait_until(lambda: bool(worker.look()))
    ended = reread(database, launch)
    assert (ended.state, ended.cancel, ended.exit_code) == ("cancelled", "bob", 143)
    with database.read() as connection:
        assert segments.get(connection, launch.segment_id).status == "stopped"
        made = nodes.of_branch(connection, launch.branch_id)
        assert audit.unlogged_changes(connection, launch.run_id) == []
    assert [node.kind for node in made] == ["fork", "final"]


def test_one_that_is_cancelled_before_it_trains_leaves_no_branch(
    order: Order, worker: Worker, database: Database
) -> None:
    with entry_point(database, argv=[sys.executable, "-c", "import time; time.sleep(600)"]):
        launch = order("next")
        assert worker.claim() is not None
    control.cancel_launch(database, launch.id, actor="bob")
    wait_until(lambda: bool(worker.look()))
    assert reread(database, launch).state == "cancelled"
    assert is_withdrawn(database, launch)


def test_each_of_several_slots_has_a_gpu_of_its_own(
    order: Order, database: Database, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    worker = Worker(database, config, slots=3, gpus=["GPU-a", "GPU-b"])
    told = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(600)"
    with entry_point(database, argv=[sys.executable, "-c", told]):
        ordered = [order(f"b{number}") for number in range(3)]
        for _ in ordered:
            assert worker.claim() is not None
    try:
        devices = [reread(database, launch).device for launch in ordered]
        assert devices == ["GPU-a", "GPU-b", "GPU-a"]
        logs = [local_process.log_path(config, launch.id) for launch in ordered]
        wait_until(lambda: all("GPU" in log.read_text() for log in logs))
        assert [log.read_text().strip() for log in logs] == devices
    finally:
        for child in worker.children.values():
            child.kill()
            assert child.process is not None
            child.process.wait()


def test_a_worker_says_that_it_works_until_it_leaves(
    order: Order, database: Database, config: Config
) -> None:
    worker = Worker(database, config, slots=2, labels=["gpu"], gpus=["GPU-a"])

    def rows() -> list[WorkerRow]:
        with database.read() as connection:
            return workers.heard_of(connection, within=10)

    with in_background(worker):
        wait_until(lambda: bool(rows()))
        (row,) = rows()
        assert (row.name, row.slots, row.labels, row.devices) == (
            worker.name,
            2,
            ["gpu"],
            ["GPU-a"],
        )
    assert rows() == []


def test_a_worker_takes_no_launch_whose_labels_it_has_not(
    train: Train, worker: Worker, database: Database, store: Store
) -> None:
    train("--steps", "3")
    launch = control.create_launch(database, store, "fake", actor="me", name="next", labels=["gpu"])
    run_to_the_end(worker)
    assert reread(database, launch).state == "queued"
    run_to_the_end(Worker(database, worker.config, labels=["gpu", "big"]))
    assert reread(database, launch).state == "ended"


def test_the_log_of_a_process_that_prints_much_is_kept_short(
    order: Order, worker: Worker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANCHTRACK_LOG_LIMIT", "8192")
    talker = Worker(database, worker.config)
    code = "for n in range(5000): print('line', n)\nprint('done', flush=True)\nimport time\n"
    with entry_point(database, argv=[sys.executable, "-c", f"{code}time.sleep(600)"]):
        launch = order("next")
        assert talker.claim() is not None
    log = local_process.log_path(worker.config, launch.id)
    try:
        # It may print on after the first look that shortens its log.
        wait_until(lambda: talker.look() == [] and log.read_text().endswith("done\n"))
        wait_until(lambda: talker.look() == [] and log.stat().st_size < 8192)
        assert log.read_text().startswith("line 0\n") and "were dropped" in log.read_text()
        assert log.stat().st_size < 8192
    finally:
        for child in talker.children.values():
            child.kill()
            assert child.process is not None
            child.process.wait()


def test_a_worker_that_was_taken_for_dead_starts_nothing(
    train: Train,
    order: Order,
    worker: Worker,
    database: Database,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("--steps", "2")
    launch = order("next")
    start = local_process.start

    def start_late(*arguments: Any, **options: Any) -> Any:
        process = start(*arguments, **options)
        with database.transaction() as connection:
            queue.put_back(connection, reread(database, launch), worker.name)
            queue.claim(connection, "another", launch.id)
        return process

    monkeypatch.setattr(local_process, "start", start_late)
    assert worker.claim() is not None
    assert worker.children == {}
    now = reread(database, launch)
    assert (now.state, now.worker) == ("starting", "another")
    assert local_process.log_path(config, launch.id).read_text() == ""

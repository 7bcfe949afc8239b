"""Launches are started once, watched to their end, and never lost with their worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from branchtrack import control, processes
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.core.records import Launch
from branchtrack.db import audit, metrics, requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.db.schema import open_database
from branchtrack.db.tables import launches as launch_table
from branchtrack.errors import StorageError
from branchtrack.launching import local_process
from branchtrack.launching.worker import Worker, in_background
from tests.launching.helpers import (
    ROOT,
    SCRIPT,
    change_entry_point,
    fork_effective,
    is_withdrawn,
    reread,
    segment_status,
    train_fake,
    wait_until,
)
from tests.matrices import some

Order = Callable[..., Launch]
Train = Callable[..., None]


def run_to_the_end(worker: Worker) -> None:
    worker.run(threading.Event(), once=True)


@contextmanager
def entry_point(database: Database, **changes: object) -> Iterator[None]:
    """Let the run ``fake`` have recorded something else."""
    change_entry_point(database, **changes)
    yield


def test_a_queued_launch_is_started_and_ends(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next", lr="0.5")
    run_to_the_end(worker)
    ended = reread(database, launch)
    assert (ended.state, ended.exit_code, ended.error) == ("ended", 0, None)
    assert ended.pid is not None
    assert segment_status(database, launch) == "finished"
    assert fork_effective(database, launch)["lr"] == 0.5
    assert Path(ended.log or "").read_text() == "fake training starts\n"
    # Every state of a launch is in the log of events.
    with database.read() as connection:
        found = [e.state for e in audit.since(connection, launch.run_id) if e.ref == launch.id]
        assert audit.first_broken_seq(connection, launch.run_id) is None
    assert found == ["queued", "starting", "running", "ended"]


def test_the_process_is_told_its_launch_its_home_and_its_database(
    train: Train, order: Order, worker: Worker, database: Database, config: Config
) -> None:
    train()
    launch = order("next")
    told = "import os; print([os.environ[n] for n in ('BRANCHTRACK_LAUNCH', 'BRANCHTRACK_HOME', "
    told += "'BRANCHTRACK_DATABASE_URL', 'COLOUR')], os.getcwd())"
    with entry_point(database, argv=[sys.executable, "-c", told], env={"COLOUR": "red"}, cwd="/"):
        run_to_the_end(worker)
    expected = [launch.id, str(config.home), config.database_url, "red"]
    assert local_process.log_path(config, launch.id).read_text().strip() == f"{expected} /"


@pytest.mark.parametrize("keep", [True, False])
def test_an_environment_that_is_to_stay_is_given_nothing_back(
    train: Train, worker: Worker, database: Database, config: Config, store: Store, keep: bool
) -> None:
    train()
    launch = control.create_launch(
        database, store, "fake", actor="me", environment={"given": {"MINE": "1"}, "keep": keep}
    )
    told = "import os; print(*[os.environ.get(n) for n in ('COLOUR', 'MINE')])"
    with entry_point(database, argv=[sys.executable, "-c", told], env={"COLOUR": "red"}):
        run_to_the_end(worker)
    log = local_process.log_path(config, launch.id).read_text()
    assert log.splitlines()[-1] == ("None 1" if keep else "red 1")


def test_a_process_that_never_trains_is_a_failed_launch(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next")
    with entry_point(database, argv=[sys.executable, "-c", "pass"]):
        run_to_the_end(worker)
    ended = reread(database, launch)
    assert (ended.state, ended.exit_code) == ("failed", 0)
    assert "trained nothing with branchtrack" in (ended.error or "")
    assert "branchtrack.start(...)" in (ended.error or "") and "resume again" in (ended.error or "")
    assert is_withdrawn(database, launch)


def test_a_crash_is_recorded_with_the_last_lines_of_the_log(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next")
    crash = [sys.executable, str(SCRIPT), "fake", "--steps", "9", "--crash-at", "5"]
    with entry_point(database, argv=crash):
        run_to_the_end(worker)
    ended = reread(database, launch)
    assert (ended.state, ended.exit_code) == ("failed", 1)
    assert ended.error == (
        "The process ended with exit code 1. RuntimeError: the loss exploded at step 5"
    )
    assert segment_status(database, launch) == "failed"


def test_a_process_that_dies_without_a_word_closes_its_segment(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next")
    leave = [sys.executable, str(SCRIPT), "fake", "--steps", "4", "--leave-open"]
    with entry_point(database, argv=leave):
        run_to_the_end(worker)
    ended = reread(database, launch)
    assert ended.state == "failed" and "did not finish its branch" in (ended.error or "")
    assert segment_status(database, launch) == "failed"


#: How a launch has ended by the exit code of its process.
ENDINGS = {143: "ended", 130: "ended", 3: "failed"}


@pytest.mark.parametrize("code", some(ENDINGS, 143, 3))
def test_a_process_that_answered_a_signal_with_a_node_has_ended_well(
    code: int, train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next")
    leave = [sys.executable, str(SCRIPT), "fake", "--steps", "4", "--exit-code", str(code)]
    with entry_point(database, argv=leave):
        run_to_the_end(worker)
    ended = reread(database, launch)
    assert (ended.state, ended.exit_code) == (ENDINGS[code], code)
    assert segment_status(database, launch) == "finished"


def test_a_killed_process_expires_the_requests_it_never_answered(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next")
    slow = [sys.executable, str(SCRIPT), "fake", "--steps", "900", "--seconds", "60"]
    with entry_point(database, argv=slow):
        running = worker.claim(launch.id)
    assert running is not None
    wait_until(lambda: segment_status(database, launch) == "running")
    wait_until(lambda: steps_of(database, launch) > 0)
    asked = {"kind": "set", "values": {"lr": "1e-3"}}
    request = control.submit(database, "fake/next", asked, actor="me")
    os.kill(running.pid or 0, signal.SIGKILL)
    run_to_the_end(worker)
    assert "SIGKILL" in (reread(database, launch).error or "")
    with database.read() as connection:
        answer = requests.get(connection, request.id)
    assert answer.state == "expired"


def steps_of(database: Database, launch: Launch) -> int:
    with database.read() as connection:
        found = metrics.read(connection, [launch.segment_id], "loss")
    return sum(series.steps.size for series in found.values())


def test_a_folder_that_is_gone_is_a_clear_failure(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train()
    launch = order("next")
    with entry_point(database, cwd="/no/such/folder"):
        run_to_the_end(worker)
    ended = reread(database, launch)
    assert ended.state == "failed"
    assert "The folder /no/such/folder in which the run was trained is gone" in (ended.error or "")
    assert is_withdrawn(database, launch)


def test_a_script_that_is_gone_is_a_clear_failure(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train()
    launch = order("next")
    with entry_point(database, argv=[sys.executable, "/no/such/script.py"]):
        run_to_the_end(worker)
    assert "The script /no/such/script.py that trained the run is gone" in (
        reread(database, launch).error or ""
    )


def test_a_python_that_is_gone_is_replaced_by_this_one(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    launch = order("next")
    with entry_point(database, argv=["/no/such/python", str(SCRIPT), "fake", "--steps", "4"]):
        run_to_the_end(worker)
    assert reread(database, launch).state == "ended"


def test_two_workers_never_start_one_launch_twice(
    train: Train, order: Order, database: Database, config: Config
) -> None:
    train("--steps", "2")
    ordered = [order(f"next{i}") for i in range(2)]
    workers = [Worker(database, config, slots=2) for _ in range(3)]
    threads = [threading.Thread(target=run_to_the_end, args=(hired,)) for hired in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reread(database, launch).state for launch in ordered] == ["ended"] * 2
    for launch in ordered:
        log = local_process.log_path(config, launch.id).read_text()
        assert log == "fake training starts\n"


def test_a_worker_starts_no_more_than_its_slots_at_a_time(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "2")
    first, second = order("one"), order("two")
    slow = [sys.executable, str(SCRIPT), "fake", "--steps", "900", "--seconds", "60"]
    with entry_point(database, argv=slow):
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        wait_until(lambda: segment_status(database, first) == "running")
        stop.set()
        thread.join()
    assert reread(database, second).state == "queued"
    assert worker.still_training() == [f"fake/one (pid {reread(database, first).pid})"]


def test_a_stopped_worker_leaves_its_children_to_train(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "2")
    launch = order("next")
    slow = [sys.executable, str(SCRIPT), "fake", "--steps", "900", "--seconds", "0.1"]
    with entry_point(database, argv=slow), in_background(worker):
        wait_until(lambda: segment_status(database, launch) == "running")
    assert processes.is_alive(reread(database, launch).pid or 0)
    assert reread(database, launch).state == "running"


def test_a_launch_that_a_dead_worker_had_not_begun_is_queued_again(
    train: Train, order: Order, worker: Worker, database: Database, dead_worker: str
) -> None:
    train("--steps", "2")
    launch = order("next")
    with database.transaction() as connection:
        queue.claim(connection, dead_worker, launch.id)
    run_to_the_end(worker)
    assert reread(database, launch).state == "ended"
    assert reread(database, launch).worker == worker.name


def test_a_launch_whose_process_died_with_its_worker_is_failed(
    train: Train, order: Order, worker: Worker, database: Database, dead_worker: str
) -> None:
    train("--steps", "2")
    launch = order("next")
    dead_pid = int(dead_worker.split(":")[1])
    with database.transaction() as connection:
        queue.claim(connection, dead_worker, launch.id)
        launches.move(connection, launch.id, "running", dead_worker, pid=dead_pid)
    run_to_the_end(worker)
    ended = reread(database, launch)
    assert (ended.state, ended.exit_code) == ("failed", None)
    assert "how it ended is not known" in (ended.error or "")
    assert is_withdrawn(database, launch)


def test_a_process_that_outlived_its_worker_is_watched_to_its_end(
    train: Train, order: Order, worker: Worker, database: Database, config: Config, dead_worker: str
) -> None:
    train("--steps", "2")
    launch = order("next")
    process = local_process.start(
        {
            "argv": [sys.executable, str(SCRIPT), "fake", "--steps", "20", "--seconds", "0.1"],
            "cwd": "/",
            "env": {"PYTHONPATH": str(ROOT)},
        },
        launch.id,
        config,
        local_process.log_path(config, launch.id),
    )
    with database.transaction() as connection:
        queue.claim(connection, dead_worker, launch.id)
        launches.move(connection, launch.id, "running", dead_worker, pid=process.pid)
    local_process.release(process)
    worker.recover()
    assert list(worker.children) == [launch.id]
    with process:
        run_to_the_end(worker)
    assert (reread(database, launch).state, segment_status(database, launch)) == (
        "ended",
        "finished",
    )


def test_a_launch_of_a_living_worker_or_another_machine_is_left_alone(
    train: Train, order: Order, worker: Worker, database: Database, dead_worker: str
) -> None:
    train("--steps", "2")
    _host, pid, start = dead_worker.split(":")
    ordered = [order("one"), order("two")]
    names = [processes.own_name() + "0", f"elsewhere:{pid}:{start}"]
    names[0] = f"elsewhere:{os.getpid()}:0"
    with database.transaction() as connection:
        for launch, name in zip(ordered, names, strict=True):
            queue.claim(connection, name, launch.id)
    worker.recover()
    assert [reread(database, launch).state for launch in ordered] == ["starting"] * 2


def test_only_one_worker_takes_over(
    train: Train, order: Order, database: Database, dead_worker: str
) -> None:
    train("--steps", "2")
    launch = order("next")
    with database.transaction() as connection:
        claimed = queue.claim(connection, dead_worker, launch.id)
    assert claimed is not None
    with database.transaction() as connection:
        assert queue.take_over(connection, claimed, "a:1:1")
    with database.transaction() as connection:
        assert not queue.take_over(connection, claimed, "b:1:1")


def test_nothing_trains_where_the_database_did_not_hear_of_it(
    train: Train,
    order: Order,
    worker: Worker,
    database: Database,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("--steps", "2")
    launch = order("next")

    def fail(*_args: object, **_facts: object) -> None:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(launches, "move", fail)
        with pytest.raises(StorageError):
            worker.claim(launch.id)
    with database.transaction() as connection:
        queue.claim(connection, worker.name, launch.id)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "has_next", lambda *_args, **_how: True)
        patch.setattr(queue, "claim", lambda *_args, **_how: reread(database, launch))
        patch.setattr(launches, "move", fail)
        with pytest.raises(StorageError):
            worker.claim(launch.id)
    assert local_process.log_path(config, launch.id).read_text() == ""
    run_to_the_end(worker)
    assert reread(database, launch).state == "ended"


def test_a_database_that_fails_for_a_while_does_not_end_a_worker(
    train: Train,
    order: Order,
    database: Database,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("--steps", "2")
    said: list[str] = []
    worker = Worker(database, config, say=said.append)
    real, calls = queue.claim, []

    def claim(*arguments: Any, **options: Any) -> Launch | None:
        calls.append(1)
        if len(calls) == 1:
            raise StorageError("The disk was busy.")
        return real(*arguments, **options)

    monkeypatch.setattr(queue, "claim", claim)
    launch = order("next")
    with in_background(worker):
        wait_until(lambda: reread(database, launch).state == "ended")
    assert said[0] == "The disk was busy. Trying again."


def test_a_worker_for_once_goes_on_until_the_queue_is_empty(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "3")
    ordered = [order(f"b{number}") for number in range(3)]
    run_to_the_end(worker)
    assert [reread(database, launch).state for launch in ordered] == ["ended"] * 3


def test_the_queue_is_worked_off_in_order(database: Database, train: Train, order: Order) -> None:
    train("--steps", "2")
    ordered = [order(f"b{i}").id for i in range(3)]
    with database.transaction() as connection:
        taken = [queue.claim(connection, "w") for _ in range(4)]
        rows = connection.execute(select(launch_table.c.state)).all()
    assert [launch.id for launch in taken if launch] == ordered
    assert {row.state for row in rows} == {"starting"}
    with database.read() as connection:
        assert segments.get(connection, taken[0].segment_id).status == "waiting"


def test_launches_work_on_postgres_too(empty_postgres: str, tmp_path: Path) -> None:
    config = load(tmp_path / "home", empty_postgres)
    database = open_database(config, create=True)
    train_fake(config, "--steps", "2")
    ordered = [
        control.create_launch(
            database, open_store(config.store), "fake", actor="me", name=f"next{i}"
        )
        for i in range(2)
    ]
    workers = [Worker(database, config, slots=2) for _ in range(2)]
    threads = [threading.Thread(target=run_to_the_end, args=(hired,)) for hired in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [reread(database, launch).state for launch in ordered]
    database.close()
    assert ended == ["ended"] * 2
    for launch in ordered:
        assert local_process.log_path(config, launch.id).read_text() == "fake training starts\n"


def test_a_worker_leaves_alone_what_another_of_its_process_is_starting(
    config: Config, database: Database, order: Order
) -> None:
    launch = order("next")
    first, second = (Worker(database, config) for _ in range(2))
    with database.transaction() as connection:
        queue.claim(connection, first.name, launch.id)
    second.recover()
    assert reread(database, launch).state == "starting"
    first.recover()
    assert reread(database, launch).state == "queued"


def test_a_refusal_is_the_launch_s_error_as_it_is(
    train: Train, order: Order, worker: Worker, database: Database
) -> None:
    train("--steps", "2")
    code = (
        "import sys; from branchtrack import refusal_lines; from branchtrack.errors import *; "
        "refusal = LaunchFailed('It does not fit.', fix='Do this.'); "
        "sys.stderr.write(refusal_lines.format_refusal(refusal)); sys.exit(1)"
    )
    with entry_point(database, argv=[sys.executable, "-c", code]):
        launch = order("refused")
        run_to_the_end(worker)
    assert reread(database, launch).error == "It does not fit. Do this."

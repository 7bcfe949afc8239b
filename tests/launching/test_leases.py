"""A worker that is not heard of loses its launches, to one of those that look."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from branchtrack import processes
from branchtrack.config import Config
from branchtrack.core.records import Launch, WorkerRow
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue, workers
from branchtrack.db.tables import launches as launch_rows
from branchtrack.db.tables import segments as segment_rows
from branchtrack.launching import local_process
from branchtrack.launching.leases import Leases
from tests.launching.helpers import (
    ROOT,
    SCRIPT,
    branchtrack,
    change_entry_point,
    is_withdrawn,
    reread,
    segment_status,
    wait_until,
)
from tests.trees_for_tests import SETTINGS

Order = Callable[..., Launch]
ELSEWHERE = "elsewhere:77:1"


@pytest.fixture
def leases(database: Database, config: Config) -> Leases:
    return Leases(database, config, f"{processes.own_name()}#9")


def claimed_by(database: Database, launch: Launch, worker: str, state: str = "starting") -> None:
    with database.transaction() as connection:
        queue.claim(connection, worker, launch.id)
        if state == "running":
            launches.move(connection, launch.id, "running", worker, pid=77)


def beat(database: Database, worker: str, ago: float) -> None:
    row = WorkerRow(worker, worker.partition(":")[0], 1, [], [], 0.0, time.time() - ago)
    with database.transaction() as connection:
        workers.beat(connection, row)


def begin(database: Database, launch: Launch, ago: float, host: str = "elsewhere") -> None:
    """Let the launch's process have taken its segment, and be heard of some seconds ago."""
    with database.transaction() as connection:
        segments.take(
            connection,
            launch.segment_id,
            actor="trainer",
            declared=[],
            settings=SETTINGS,
            max_steps=9,
        )
        connection.execute(
            segment_rows.update()
            .where(segment_rows.c.id == launch.segment_id)
            .values(heartbeat_at=time.time() - ago, host=host, process=f"{host}:77:1")
        )


@pytest.mark.parametrize(("ago", "state"), [(1.0, "starting"), (30.0, "queued")])
def test_what_a_worker_elsewhere_had_not_begun_is_queued_once_it_is_silent(
    order: Order, database: Database, leases: Leases, ago: float, state: str
) -> None:
    launch = order("next")
    claimed_by(database, launch, ELSEWHERE)
    beat(database, ELSEWHERE, ago)
    assert leases.recover([]) == []
    assert reread(database, launch).state == state


def test_one_that_was_cancelled_meanwhile_is_not_started_again(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    claimed_by(database, launch, ELSEWHERE)
    beat(database, ELSEWHERE, 30)
    with database.transaction() as connection:
        queue.cancel(connection, launch.id, "bob")
    leases.recover([])
    assert reread(database, launch).state == "cancelled" and is_withdrawn(database, launch)


def test_a_trainer_elsewhere_that_is_heard_of_is_left_to_workers_there(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    claimed_by(database, launch, ELSEWHERE, "running")
    beat(database, ELSEWHERE, 30)
    begin(database, launch, ago=1)
    assert leases.recover([]) == []
    assert (reread(database, launch).state, reread(database, launch).worker) == (
        "running",
        ELSEWHERE,
    )


def test_a_trainer_elsewhere_that_is_silent_too_is_marked(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    claimed_by(database, launch, ELSEWHERE, "running")
    beat(database, ELSEWHERE, 30)
    begin(database, launch, ago=30)
    assert leases.recover([]) == []
    ended = reread(database, launch)
    assert ended.state == "failed" and "elsewhere have been silent" in (ended.error or "")
    assert segment_status(database, launch) == "failed"


def test_a_trainer_elsewhere_that_ended_well_has_ended(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    claimed_by(database, launch, ELSEWHERE, "running")
    beat(database, ELSEWHERE, 30)
    begin(database, launch, ago=30)
    with database.transaction() as connection:
        segments.end(connection, launch.segment_id, "finished", actor="trainer")
    leases.recover([])
    assert (reread(database, launch).state, reread(database, launch).error) == ("ended", None)


def test_a_trainer_elsewhere_has_a_while_for_the_way_to_its_first_step(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    claimed_by(database, launch, ELSEWHERE, "running")
    beat(database, ELSEWHERE, 30)
    leases.recover([])
    assert reread(database, launch).state == "running"
    with database.transaction() as connection:
        connection.execute(launch_rows.update().values(updated_at=time.time() - 3600))
    leases.recover([])
    assert reread(database, launch).state == "failed" and is_withdrawn(database, launch)


def test_a_worker_of_this_machine_that_is_gone_may_be_in_a_container_while_it_is_heard_of(
    order: Order, database: Database, leases: Leases, dead_worker: str
) -> None:
    launch = order("next")
    claimed_by(database, launch, dead_worker)
    beat(database, dead_worker, 1)
    leases.recover([])
    assert reread(database, launch).state == "starting"
    beat(database, dead_worker, 6)
    leases.recover([])
    assert reread(database, launch).state == "queued"


def test_a_worker_that_is_alive_here_keeps_its_launches_however_silent(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    own = processes.own_name()
    claimed_by(database, launch, own)
    beat(database, own, 3600)
    leases.recover([])
    assert reread(database, launch).state == "starting"


def test_a_trainer_whose_process_is_not_seen_here_but_which_is_heard_of_is_left(
    order: Order, database: Database, leases: Leases, dead_worker: str
) -> None:
    launch = order("next")
    claimed_by(database, launch, dead_worker, "running")
    begin(database, launch, ago=1, host=socket.gethostname())
    assert leases.recover([]) == []
    assert reread(database, launch).worker == dead_worker


@contextmanager
def trainer_of(launch: Launch, config: Config, steps: int) -> Iterator[int]:
    process = local_process.start(
        {
            "argv": [sys.executable, str(SCRIPT), "fake", "--steps", str(steps), "--seconds", "1"],
            "cwd": "/",
            "env": {"PYTHONPATH": str(ROOT)},
        },
        launch.id,
        config,
        local_process.log_path(config, launch.id),
    )
    with process:
        local_process.release(process)
        try:
            yield process.pid
        finally:
            process.kill()


def test_of_two_that_recover_at_once_one_adopts_a_trainer(
    order: Order, database: Database, config: Config, dead_worker: str
) -> None:
    launch = order("next")
    with trainer_of(launch, config, 900) as pid:
        with database.transaction() as connection:
            queue.claim(connection, dead_worker, launch.id)
            launches.move(connection, launch.id, "running", dead_worker, pid=pid)
        wait_until(lambda: segment_status(database, launch) == "running")
        recoverers = [Leases(database, config, f"{processes.own_name()}#{n}") for n in (7, 8)]
        adopted: dict[str, int] = {}
        met = threading.Barrier(2, timeout=60)

        def recover(leases: Leases) -> None:
            met.wait()
            adopted[leases.name] = len(leases.recover([]))

        threads = [threading.Thread(target=recover, args=(one,)) for one in recoverers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(adopted.values()) == [0, 1]
        assert adopted[reread(database, launch).worker or ""] == 1


def test_workers_that_have_been_silent_for_long_are_forgotten(
    database: Database, leases: Leases
) -> None:
    for name, ago in (("box:1:1", 3600), ("box:2:1", 20), (leases.name, 3600)):
        beat(database, name, ago)
    leases.recover([])
    with database.read() as connection:
        assert [row.name for row in workers.heard_of(connection)] == ["box:2:1", leases.name]


def test_what_this_worker_watches_is_left_alone(
    order: Order, database: Database, leases: Leases
) -> None:
    launch = order("next")
    claimed_by(database, launch, leases.name)
    assert leases.recover([launch.id]) == []
    assert reread(database, launch).state == "starting"
    assert replace(reread(database, launch), pid=os.getpid()).worker == leases.name


def test_what_a_killed_worker_trained_is_watched_and_what_it_had_is_started_within_15_s(
    order: Order, database: Database, config: Config
) -> None:
    change_entry_point(
        database,
        argv=[sys.executable, str(SCRIPT), "fake", "--steps", "900", "--seconds", "1"]
        + ["--on-sigterm"],
    )
    training = order("training")
    with branchtrack(config, "worker") as first:
        wait_until(lambda: segment_status(database, training) == "running")
        killed = reread(database, training)
        first.kill()
        first.wait()
        # As if it had been killed between claiming and starting.
        begun = order("begun")
        with database.transaction() as connection:
            queue.claim(connection, killed.worker or "", begun.id)
        began = time.monotonic()
        with branchtrack(config, "worker", "--slots", "2") as second:
            wait_until(lambda: reread(database, training).worker != killed.worker)
            wait_until(lambda: reread(database, begun).state == "running")
            # The start of the second worker is no part of it.
            assert time.monotonic() - began < 15 + 15
            assert processes.is_alive(killed.pid or 0)
            second.terminate()
            second.wait(60)
    assert reread(database, training).state == "ended"
    assert not processes.is_alive(killed.pid or 0)

"""The worker within a job: which launch it carries out at each start, and how the job ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db import audit, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import InvalidInput, StorageError
from branchtrack.launching.clusters import job_process
from branchtrack.launching.clusters.job_files import INTERRUPTED
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.helpers import environment, reread, segment_status, wait_until

Order = Callable[..., Launch]
Claim = Callable[..., Launch]
Look = Callable[[], None]


def end(database: Database, launch: Launch, segment: str, state: str = "ended") -> None:
    with database.transaction() as connection:
        segments.end(connection, launch.segment_id, segment, actor="fake")
        launches.move(connection, launch.id, state, "w")


def test_the_first_start_has_the_launch_and_another_job_nothing(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    launch = on_slurm("a")
    # A job may begin before it is recorded.
    assert (job_process.launch_of_job(database, launch.id, "9") or launch).id == launch.id
    look()
    assert (job_process.launch_of_job(database, launch.id, "1") or launch).id == launch.id
    assert job_process.launch_of_job(database, launch.id, "2") is None


def test_a_launch_of_the_homes_workers_is_refused(order: Order, database: Database) -> None:
    with pytest.raises(InvalidInput):
        job_process.launch_of_job(database, order("here").id, "1")


def test_a_later_start_goes_on(
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    claim: Claim,
    fall_silent: Callable[[Launch], None],
    database: Database,
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    fall_silent(launch)
    again = job_process.launch_of_job(database, launch.id, "1")
    assert again is not None and (again.retry_of, again.state) == (launch.id, "queued")
    claim(again)
    end(database, again, "finished")
    assert job_process.launch_of_job(database, launch.id, "1") is None


def test_a_later_start_waits_for_what_still_trains(
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    claim: Claim,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    monkeypatch.setattr(job_process, "PATIENCE", 0.0)
    with pytest.raises(InvalidInput, match="still trains in a process that its job has lost"):
        job_process.launch_of_job(database, launch.id, "1")
    monkeypatch.setattr(job_process, "PATIENCE", 600.0)
    ends = threading.Event()
    ends.set()
    assert job_process.launch_of_job(database, launch.id, "1", ends) == reread(database, launch)
    assert segment_status(database, launch) == "running"


def test_the_signal_that_a_job_received_is_in_the_record(
    on_slurm: Order, fake: FakeCluster, look: Look, claim: Claim, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    job_process.note_signal(database, launch.id, signal.SIGUSR1)
    with database.read() as connection:
        event = [e for e in audit.since(connection, launch.run_id) if e.ref == launch.id][-1]
        assert audit.first_broken_seq(connection, launch.run_id) is None
    said = "Slurm job 1 received SIGUSR1; its training is sent SIGTERM."
    assert (event.reason, event.state) == (said, "running")


def test_where_it_runs_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    assert job_process.columns("1")["job_host"] == socket.gethostname()
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[01-02]")
    assert job_process.columns("1")["job_host"] == "n[01-02]"


@pytest.mark.parametrize(
    "segment, state, was_signalled, code",
    [
        ("finished", "ended", False, 0),
        ("finished", "ended", True, 0),
        ("stopped", "ended", False, 0),
        ("stopped", "ended", True, INTERRUPTED),
        ("failed", "failed", True, 1),
    ],
)
def test_a_job_ends_as_its_launch_did(
    segment: str,
    state: str,
    was_signalled: bool,
    code: int,
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    claim: Claim,
    database: Database,
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    end(database, launch, segment, state)
    assert job_process.exit_code(database, launch.id, was_signalled=was_signalled) == code


def test_a_signal_before_training_leaves_the_launch_to_the_next_start(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    assert job_process.exit_code(database, launch.id, was_signalled=True) == INTERRUPTED
    control.cancel_launch(database, launch.id, actor="ann")
    assert job_process.exit_code(database, launch.id, was_signalled=True) == 0


def test_a_job_waits_for_the_database_to_say_how_it_ended(
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch, current = on_slurm("a"), job_process.current
    look()
    fails = iter([True, True])

    def failing(database: Database, launch_id: str) -> Launch:
        if next(fails, False):
            raise StorageError("The connection was ended.")
        return current(database, launch_id)

    monkeypatch.setattr(job_process, "current", failing)
    assert job_process.exit_code(database, launch.id, was_signalled=True) == INTERRUPTED
    fails = iter([True, True, True])
    monkeypatch.setattr(job_process, "PATIENCE", 0.0)
    with pytest.raises(StorageError):
        job_process.exit_code(database, launch.id, was_signalled=True)


#: A script that starts what ends with it, and is killed.
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
os.kill(os.getpid(), 9)
"""
CHILD = """
import signal, sys, time
from pathlib import Path
from branchtrack.launching.clusters import job_process
def ends(number, frame):
    Path({path!r}).write_text("SIGTERM")
    sys.exit()
signal.signal(signal.SIGTERM, ends)
job_process.end_with_parent(0.05)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_worker_whose_script_is_gone_is_told_to_end(config: Config, tmp_path: Path) -> None:
    said = tmp_path / "said"
    child = CHILD.format(path=str(said))
    done = subprocess.run(
        [sys.executable, "-c", PARENT, child], env=environment(config), timeout=60
    )
    assert done.returncode == -9
    wait_until(lambda: said.exists() and said.read_text() == "SIGTERM")

"""The worker within a job: which launch the job carries out now, and how the job ends.

A job may be started several times, by the same script: after a preemption, or when somebody has
requeued it. Each time it goes on where its launch was left.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

from branchtrack.core import lifecycle
from branchtrack.core.records import Launch
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches, withdrawals
from branchtrack.errors import IllegalTransition, InvalidInput, StorageError
from branchtrack.launching.clusters import endings
from branchtrack.launching.clusters.job_files import INTERRUPTED
from branchtrack.launching.clusters.watch import current

#: Seconds that a job which was started again waits for its earlier processes to fall silent.
PATIENCE = 60.0
_POLL = 0.5


def columns(job: str) -> dict[str, str | None]:
    """Return the columns of a launch that this job, on this machine, carries out."""
    return jobs.of_claim(job, os.environ.get("SLURM_JOB_NODELIST") or socket.gethostname())


def end_with_parent(every: float = 1.0) -> None:
    """Have this process sent SIGTERM once the one that started it, the job's script, is gone.

    Ray kills a script whose node or cluster ends, and not what has a session of its own: so there
    is time for a node.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="branchtrack-parent", daemon=True).start()


def launch_of_job(
    database: Database, launch_id: str, job: str, stop: threading.Event | None = None
) -> Launch | None:
    """Return the launch that job ``job`` is to carry out now, queued; None if nothing is left.

    ``launch_id`` is the launch that the job was submitted for. A launch that has begun is returned
    as it is if ``stop`` is set before its processes of an earlier start have fallen silent.

    Raises:
        InvalidInput: no cluster carries it out, or its process still trains elsewhere.
    """
    launch = current(database, launch_id)
    if launch.launcher is None:
        raise InvalidInput("launch", launch_id, "a launch that a cluster carries out")
    if launch.job not in (None, job):
        return None
    if launch.state != "queued" and not _falls_silent(database, launch, stop or threading.Event()):
        return launch
    try:
        with database.transaction() as connection:
            return endings.run_again(connection, launches.get(connection, launch.id))
    except IllegalTransition:
        # Whoever looks after the jobs was faster, and has prepared it.
        again = current(database, launch_id)
        return again if again.state == "queued" else None


def note_signal(database: Database, launch_id: str, received: signal.Signals) -> None:
    """Record which signal a job was sent: its training is sent SIGTERM, whichever it was.

    That reaches every process of a training that has a launcher of its own, as SIGUSR1 would not.
    """
    # The signal counts, whether it can be recorded or not.
    with suppress(StorageError), database.transaction() as connection:
        launch = launches.get(connection, launch_id)
        title = jobs.cluster(launch)
        why = f"{title} job {launch.job} received {received.name}; its training is sent SIGTERM."
        jobs.note(connection, launch_id, why)


def _falls_silent(database: Database, launch: Launch, stop: threading.Event) -> bool:
    """Wait for the end of what an earlier start of a job has begun; False if ``stop`` is set."""
    deadline = time.monotonic() + PATIENCE
    while not endings.is_silent(database, launch):
        if time.monotonic() > deadline:
            raise InvalidInput(
                "launch",
                launch.id,
                "a launch whose earlier process has ended",
                what=f"Launch {launch.id} still trains in a process that its job has lost.",
            )
        if stop.wait(_POLL):
            return False
    return True


def exit_code(database: Database, launch_id: str, *, was_signalled: bool) -> int:
    """Return the exit code of a job, by the launch that it carried out at last.

    It is `INTERRUPTED` if a signal has ended a training that can go on, 1 if the launch failed.

    Raises:
        StorageError: the database could not be read for `PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return _exit_code(database, launch_id, was_signalled=was_signalled)
        except StorageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL)


def _exit_code(database: Database, launch_id: str, *, was_signalled: bool) -> int:
    launch = current(database, launch_id)
    if launch.state == "failed":
        return 1
    if not was_signalled or launch.cancel is not None:
        return 0
    if launch.state not in lifecycle.LAUNCH_ENDS:
        return INTERRUPTED
    with database.read() as connection:
        if withdrawals.is_withdrawn(connection, launch):
            return 0
        segment = segments.get(connection, launch.segment_id)
    return INTERRUPTED if segment.status == "stopped" else 0

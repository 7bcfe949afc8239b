"""How launches of clusters end that do not end by themselves: refused, lost, run again.

A launch that trains records its own end, by the worker in its job (`job_process`). What that could
not do is done here, once, however many look. It asks no cluster.
"""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import Connection

from branchtrack import control
from branchtrack.config import Config
from branchtrack.control import continuation
from branchtrack.core import lifecycle
from branchtrack.core.launchers.jobs import UNKNOWN, JobStatus
from branchtrack.core.records import Launch
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches, queue, withdrawals, workers
from branchtrack.errors import IllegalTransition, NotFound, NotLive
from branchtrack.launching import endings
from branchtrack.launching.clusters import job_files

#: Who records what nobody else could.
ACTOR = "branchtrack"


def refuse(database: Database, launch: Launch, why: str) -> Launch:
    """Record that no job will carry out a launch that waits, and withdraw its branch."""
    with database.transaction() as connection:
        try:
            return _give_up(connection, launch, why)
        except IllegalTransition:
            return launches.get(connection, launch.id)


def lose(database: Database, config: Config, launch: Launch, status: JobStatus) -> Launch:
    """Record the end of a launch whose job is over although the launch is not.

    A launch that may be started again after a crash gets another job.
    """
    with database.read() as connection:
        launch = launches.get(connection, launch.id)
        segment = segments.get(connection, launch.segment_id)
    if launch.job != status.job:
        # Another was faster, and has submitted it again.
        return launch
    why = sentence(launch, status)
    if launch.state != "queued":
        # A training that has ended by itself has said how.
        why = why if segment.ended_at is None else ""
        return endings.record(database, config, ACTOR, launch, None, why)
    if printed := job_files.last_lines(config, root_id(database, launch)):
        why = f"{why} Its script printed: {printed}"
    left = (launch.retries or 0) - 1
    with database.transaction() as connection:
        if left >= 0 and jobs.again(connection, launch, f"{why} Submitted again.", left):
            return launches.get(connection, launch.id)
    return refuse(database, launch, why)


def run_again(connection: Connection, launch: Launch) -> Launch | None:
    """Prepare a launch for the next start of its job, whose processes are all gone.

    Returns the launch that the job carries out then: the same if it had trained nothing, one that
    goes on in its branch, or None if nothing is left to be done.

    Raises:
        IllegalTransition: another process was faster.
    """
    again = launches.repeated_by(connection, launch.id)
    if again is not None:
        return again if again.job == launch.job else None
    if launch.cancel is not None and launch.state != "queued":
        return None
    if launch.state in ("starting", "running"):
        segment = segments.get(connection, launch.segment_id)
        if segment.started_at is None:
            return queue.put_back(connection, launch, launch.worker or "")
        why = f"{jobs.cluster(launch)} ended its job {launch.job}, which runs again."
        segments.end(connection, segment.id, "stopped", actor=ACTOR, error=why)
        control.expire_unanswered(connection, segment.id, ACTOR, why)
        launch = launches.move(
            connection, launch.id, "ended", ACTOR, owner=launch.worker, error=why
        )
    if launch.state in lifecycle.LAUNCH_ENDS:
        why = f"{jobs.cluster(launch)} runs its job {launch.job} again."
        return continuation.go_on(connection, launch, why)
    return launch


def is_silent(database: Database, launch: Launch) -> bool:
    """Return whether a launch that has begun, or ended, gives no sign of life.

    Both have to be silent, its worker and the process that trains.
    """
    if launch.state == "queued":
        return False
    if launch.state in lifecycle.LAUNCH_ENDS:
        return True
    with database.read() as connection:
        heard = workers.heard_of(connection, workers.SILENT_AFTER)
        segment = segments.get(connection, launch.segment_id)
    is_heard = any(row.name == launch.worker for row in heard)
    return not is_heard and lifecycle.segment_status(segment, time.time()) not in lifecycle.LIVE


def ask_to_stop(database: Database, launch: Launch) -> None:
    """Have a cancelled training whose job is over end by a request: no worker is left to do it."""
    with database.read() as connection:
        branch = runs.get_branch(connection, launch.branch_id)
    # It has ended meanwhile, or somebody has continued it: the next look says so.
    with suppress(NotLive, NotFound):
        control.submit(
            database,
            branch.id,
            {"kind": "stop"},
            actor=ACTOR,
            reason=f"Cancelled by {launch.cancel}.",
            key=f"cancel-{launch.id}",
        )


def root_id(database: Database, launch: Launch) -> str:
    """Return the launch that a launch's job was submitted for: the first that it carried out."""
    with database.read() as connection:
        while launch.retry_of is not None:
            earlier = launches.get(connection, launch.retry_of)
            if earlier.job != launch.job:
                break
            launch = earlier
    return launch.id


def sentence(launch: Launch, status: JobStatus) -> str:
    """Say what a cluster said of the end of a launch's job."""
    title = jobs.cluster(launch)
    if status.state == UNKNOWN and status.reason:
        return (
            f"{status.reason} Its jobs end with it: job {status.job} and its worker are silent, "
            "and nothing says how they ended."
        )
    if status.state == UNKNOWN:
        return f"{title} does not know job {status.job} any more, and nothing says how it ended."
    where = f" on {status.host}" if status.host else ""
    reason = f" ({status.reason})" if status.reason else ""
    return f"{title} says of job {status.job}{where}: {status.state}{reason}, by {status.source}."


def _give_up(connection: Connection, launch: Launch, why: str) -> Launch:
    if not queue.still_waits(connection, launch.id):
        return launches.get(connection, launch.id)
    launch = launches.move(connection, launch.id, "failed", ACTOR, error=why)
    segments.end(connection, launch.segment_id, "failed", actor=ACTOR, error=why)
    withdrawals.withdraw(connection, launch, ACTOR)
    return launch

"""Jobs of clusters that carry out launches: submitted once, and what was last seen of each.

A job's submission is written down before it is made. Every move is a compare-and-set, so of several
workers that submit, or go on with what a dead one began, exactly one succeeds. It knows no cluster.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from branchtrack.core import lifecycle
from branchtrack.core.launchers.jobs import OVER, PENDING, RUNNING, SUBMITTING, JobStatus
from branchtrack.core.launchers.profiles import title
from branchtrack.core.records import Launch
from branchtrack.db import audit, seals
from branchtrack.db.orders import launches as orders
from branchtrack.db.orders import queue
from branchtrack.db.tables import launches

#: A launch before a job of it was submitted, or is about to be.
_UNSUBMITTED: dict[str, None] = dict.fromkeys(("job", "job_state", "job_host", "job_reason"))


def unsubmitted(connection: Connection, only: Collection[str] | None = None) -> list[Launch]:
    """Return the launches that wait for a job, in the order of the queue; or those of ``only``."""
    query = select(launches).where(
        launches.c.state == "queued",
        launches.c.launcher.is_not(None),
        launches.c.job_state.is_(None),
    )
    return _records(connection, query.order_by(*queue.ORDER), only)


def with_jobs(connection: Connection, only: Collection[str] | None = None) -> list[Launch]:
    """Return the launches of whose jobs something is to be expected, or those of ``only``.

    These are launches that have not ended, and jobs that have not.
    """
    unfinished = launches.c.state.not_in(sorted(lifecycle.LAUNCH_ENDS))
    is_open = launches.c.job_state.not_in(sorted(OVER))
    query = select(launches).where(
        launches.c.launcher.is_not(None),
        launches.c.job_state.is_not(None),
        or_(unfinished, is_open),
    )
    return _records(connection, query.order_by(launches.c.seq), only)


def begin(connection: Connection, launch: Launch, submitter: str) -> bool:
    """Write down that ``submitter`` is about to submit a job; False if another is, or it ended."""
    is_free = and_(launches.c.state == "queued", launches.c.job_state.is_(None))
    mark: dict[str, Any] = {"job_state": SUBMITTING, "worker": submitter}
    return _change(connection, launch, is_free, **mark, updated_at=time.time())


def take_over(connection: Connection, launch: Launch, submitter: str) -> bool:
    """Make the submission that another began this one's; False if anything has changed since."""
    is_same = and_(
        launches.c.state == launch.state,
        launches.c.job_state == SUBMITTING,
        launches.c.worker == launch.worker,
    )
    return _change(connection, launch, is_same, worker=submitter)


def submitted(connection: Connection, launch: Launch, job: str) -> Launch:
    """Record the job of a launch; one that has begun meanwhile has recorded itself."""
    is_new = and_(launches.c.job.is_(None), launches.c.job_state == SUBMITTING)
    facts: dict[str, Any] = {"job": job, "job_state": PENDING, "job_reason": None}
    if _change(connection, launch, is_new, **facts):
        waits = and_(launches.c.state == "queued", launches.c.worker == launch.worker)
        _change(connection, launch, waits, worker=None)
        _log(connection, launch.id, f"Submitted to {cluster(launch)} as job {job}.")
    return orders.get(connection, launch.id)


def postpone(connection: Connection, launch: Launch, why: str) -> None:
    """Record why a job is not submitted yet: whoever looks next finds out whether it was."""
    is_own = and_(launches.c.job_state == SUBMITTING, launches.c.worker == launch.worker)
    _change(connection, launch, is_own, job_reason=why)


def drop(connection: Connection, launch: Launch) -> None:
    """Record that no job was submitted for a launch that has ended meanwhile."""
    is_own = and_(launches.c.job.is_(None), launches.c.job_state == SUBMITTING)
    _change(connection, launch, is_own, job_state=None, job_reason=None)


def again(connection: Connection, launch: Launch, why: str, retries: int) -> bool:
    """Have a queued launch whose job is gone submitted once more; False if it has changed since."""
    is_same = and_(launches.c.state == "queued", launches.c.job == launch.job)
    facts: dict[str, Any] = {**_UNSUBMITTED, "worker": None, "retries": retries}
    if not _change(connection, launch, is_same, **facts):
        return False
    _log(connection, launch.id, why)
    return True


def saw(connection: Connection, launch: Launch, status: JobStatus) -> None:
    """Record what a cluster says of the job of a launch, if that is news."""
    seen = {
        "job": status.job,
        "job_state": status.state,
        "job_host": status.host or None,
        "job_reason": status.reason or None,
    }
    if any(getattr(launch, name) != value for name, value in seen.items()):
        is_same = or_(launches.c.job.is_(None), launches.c.job == status.job)
        _change(connection, launch, is_same, **seen)


def note(connection: Connection, launch_id: str, why: str) -> None:
    """Append to the log what has come to the job of a launch."""
    _log(connection, launch_id, why)


def of_claim(job: str, host: str) -> dict[str, str | None]:
    """Return the columns of a launch that job ``job`` carries out on ``host``."""
    return {"job": job, "job_state": RUNNING, "job_host": host, "job_reason": None}


def cluster(launch: Launch) -> str:
    """Return what the cluster of a launch is called."""
    return title((launch.launcher or {}).get("kind", ""))


def _change(
    connection: Connection, launch: Launch, condition: ColumnElement[bool], **columns: Any
) -> bool:
    change = launches.update().where(launches.c.id == launch.id, condition)
    done = connection.execute(change.values(**columns))
    if done.rowcount:
        seals.renew(connection, launches, launch.id)
    return bool(done.rowcount)


def _log(connection: Connection, launch_id: str, why: str) -> None:
    """Append to the log what has become of a launch whose state is as it was."""
    launch = orders.get(connection, launch_id)
    audit.append(
        connection,
        launch.run_id,
        kind="launch",
        ref=launch.id,
        state=launch.state,
        actor=launch.actor,
        reason=why,
        payload=seals.renew_for_event(connection, launches, launch.id),
    )


def _records(
    connection: Connection, query: Select[Any], only: Collection[str] | None
) -> list[Launch]:
    if only is not None:
        query = query.where(launches.c.id.in_(sorted(only)))
    return [Launch(**row._mapping) for row in connection.execute(query)]

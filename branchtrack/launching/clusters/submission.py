"""A job for each launch, submitted once, whoever dies when.

That a job is about to be submitted is written down first, and its name tells of its launch. So
whoever comes after one that died looks for a job of that name before submitting another; and a
second job would end at once, because the launch belongs to the first.
"""

from __future__ import annotations

import time

from branchtrack import processes, trust
from branchtrack.config import Config
from branchtrack.core.launchers.jobs import SUBMITTING, job_name
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches, workers
from branchtrack.errors import ClusterUnreachable, LaunchFailed
from branchtrack.launching.clusters import endings, job_files
from branchtrack.launching.clusters.cluster import Cluster

#: Seconds after which the submission of a process on another machine counts as given up, unless
#: that is heard of.
_ABANDONED = 120.0


def submit(
    database: Database, config: Config, cluster: Cluster, launch: Launch, submitter: str
) -> Launch:
    """Submit the job of a launch that waits for one, unless another does; return the launch.

    A launch whose job the cluster refuses has failed, and its branch is withdrawn.

    Raises:
        UntrustedHome: nothing is submitted from a home that its user does not trust.
        ClusterUnreachable: it did not answer; `resume` finds out what came of it.
    """
    trust.check(config)
    with job_files.locked(config, launch.id) as lock:
        if lock is None:
            return launch
        with database.transaction() as connection:
            if not jobs.begin(connection, launch, submitter):
                return launches.get(connection, launch.id)
            launch = launches.get(connection, launch.id)
        return _send(database, config, cluster, launch, lock)


def resume(
    database: Database, config: Config, cluster: Cluster, launch: Launch, submitter: str
) -> Launch:
    """Go on with a submission that was begun and not recorded, if whoever began it is gone.

    Raises:
        UntrustedHome, ClusterUnreachable: as `submit`.
    """
    if not _is_abandoned(database, launch, submitter):
        return launch
    trust.check(config)
    # sbatch itself may have outlived the one that called it: it has the lock then.
    with job_files.locked(config, launch.id) as lock:
        if lock is None:
            return launch
        with database.transaction() as connection:
            if not jobs.take_over(connection, launch, submitter):
                return launches.get(connection, launch.id)
            launch = launches.get(connection, launch.id)
        listed = cluster.jobs([job_name(launch.id)]).get(job_name(launch.id), ())
        standing = [status for status in listed if not status.is_over] or listed
        if standing:
            return _record(database, launch, standing[0].job)
        if launch.state != "queued":
            with database.transaction() as connection:
                jobs.drop(connection, launch)
            return launch
        return _send(database, config, cluster, launch, lock)


def _send(
    database: Database, config: Config, cluster: Cluster, launch: Launch, lock: int
) -> Launch:
    order = job_files.write(config, launch)
    try:
        job = cluster.submit(order, [lock])
    except LaunchFailed as error:
        job_files.remove(config, launch.id)
        refused = endings.refuse(database, launch, error.what)
        with database.transaction() as connection:
            # Nothing is left to be looked for.
            jobs.drop(connection, refused)
            return launches.get(connection, launch.id)
    except ClusterUnreachable as error:
        with database.transaction() as connection:
            jobs.postpone(connection, launch, error.what)
        raise
    return _record(database, launch, job)


def _record(database: Database, launch: Launch, job: str) -> Launch:
    with database.transaction() as connection:
        return jobs.submitted(connection, launch, job)


def _is_abandoned(database: Database, launch: Launch, submitter: str) -> bool:
    if launch.job_state != SUBMITTING:
        return False
    if launch.worker in (None, submitter):
        # One that still submits would not look for others: this thread has failed before.
        return True
    gone = processes.is_gone_from_here(launch.worker or "")
    if gone is not None:
        return gone
    with database.read() as connection:
        heard = workers.heard_of(connection, workers.SILENT_AFTER)
    is_heard = any(row.name == launch.worker for row in heard)
    return not is_heard and time.time() - launch.updated_at > _ABANDONED

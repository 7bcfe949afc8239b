"""Jobs looked after: what their cluster says of all of them, in one question, and what follows.

What was read of a launch before the question is compared with the answer: a job that waits after
its launch had begun has ended once, and runs again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from branchtrack.config import Config
from branchtrack.core import lifecycle
from branchtrack.core.launchers.jobs import UNKNOWN, JobStatus, is_open, job_name
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches
from branchtrack.errors import IllegalTransition, InvalidInput
from branchtrack.launching.children import GRACE
from branchtrack.launching.clusters import endings, job_files
from branchtrack.launching.clusters.cluster import Cluster

#: Seconds that the script of a job has beyond those of its training, before the job is ended.
_MORE = 30.0


@dataclass
class Watch:
    """One who looks after jobs, and remembers which were asked to end, and when."""

    database: Database
    config: Config
    _asked_at: dict[str, float] = field(default_factory=dict)

    def look(self, cluster: Cluster, watched: Sequence[Launch]) -> None:
        """Ask a cluster for the jobs of launches, record what it says, and do what follows.

        ``watched`` was read before, and all of it has jobs.

        Raises:
            ClusterUnreachable: nothing was judged.
        """
        names = {launch.id: job_name(endings.root_id(self.database, launch)) for launch in watched}
        listed = cluster.jobs(sorted(set(names.values()))) if names else {}
        for launch in watched:
            same_name = listed.get(names[launch.id], ())
            status = next((s for s in same_name if s.job == launch.job), None)
            for other in same_name:
                # Submitted twice: the launch belongs to the first, this one would do nothing.
                if other.job != launch.job and not other.is_over and self._has_still(launch):
                    cluster.cancel(other.job)
            if status is None:
                status = cluster.fate(launch.job or "", names[launch.id])
            gone = JobStatus(launch.job or "", names[launch.id], UNKNOWN)
            self._settle(cluster, launch, status or gone)

    def _has_still(self, launch: Launch) -> bool:
        """Return whether a launch has the job that it had; another may have submitted it again."""
        with self.database.read() as connection:
            return launches.get(connection, launch.id).job == launch.job

    def miss(self, watched: Sequence[Launch], why: str, *, is_gone: bool) -> None:
        """Record of launches why nothing is known of their jobs.

        If the cluster ``is_gone``, and its jobs with it, those end whose worker and process are
        silent, too; what waits for a start is judged once the cluster answers.
        """
        for launch in watched:
            name = job_name(endings.root_id(self.database, launch))
            job, state, host = launch.job or "", launch.job_state or UNKNOWN, launch.job_host or ""
            if is_gone and endings.is_silent(self.database, launch):
                self._settle_lost(launch, JobStatus(job, name, UNKNOWN, host, why))
            elif launch.state not in lifecycle.LAUNCH_ENDS:
                self._record(launch, JobStatus(job, name, state, host, why))

    def is_urgent(self, launch: Launch) -> bool:
        """Return whether a launch was cancelled whose job goes on, and was not asked to end."""
        is_cancelled = launch.cancel is not None and launch.job is not None
        return is_cancelled and is_open(launch.job_state) and launch.id not in self._asked_at

    def _settle(self, cluster: Cluster, launch: Launch, status: JobStatus) -> None:
        self._record(launch, status)
        has_ended = launch.state in lifecycle.LAUNCH_ENDS
        has_begun = launch.state != "queued" and not has_ended
        if status.is_over and has_begun and not endings.is_silent(self.database, launch):
            # Its worker, or who finds both silent, records how it ended.
            if launch.cancel is not None:
                endings.ask_to_stop(self.database, launch)
            return
        if status.is_over:
            if not has_ended:
                endings.lose(self.database, self.config, launch, status)
            job_files.remove(self.config, endings.root_id(self.database, launch))
            self._asked_at.pop(launch.id, None)
        elif launch.cancel is not None:
            self._end(cluster, launch, status)
        elif status.is_waiting and launch.state != "queued":
            self._run_again(launch)

    def _settle_lost(self, launch: Launch, status: JobStatus) -> None:
        # The error of a launch that is lost says why; of another that would be no news.
        self._record(launch, replace(status, reason=""))
        if launch.state not in lifecycle.LAUNCH_ENDS:
            endings.lose(self.database, self.config, launch, status)
        job_files.remove(self.config, endings.root_id(self.database, launch))

    def _record(self, launch: Launch, status: JobStatus) -> None:
        with self.database.transaction() as connection:
            jobs.saw(connection, launch, status)

    def _run_again(self, launch: Launch) -> None:
        if not endings.is_silent(self.database, launch):
            return
        # Another was faster: the next look comes soon.
        with suppress(IllegalTransition, InvalidInput), self.database.transaction() as connection:
            present = launches.get(connection, launch.id)
            # What has begun since the question is none that the answer speaks of.
            if (present.state, present.worker) == (launch.state, launch.worker):
                endings.run_again(connection, present)

    def _end(self, cluster: Cluster, launch: Launch, status: JobStatus) -> None:
        """End the job of a launch that is cancelled: by a node first, if it trains."""
        is_first = launch.id not in self._asked_at
        asked_at = self._asked_at.setdefault(launch.id, time.monotonic())
        has_begun = launch.pid is not None
        if status.is_waiting or (launch.state == "cancelled" and not has_begun):
            cluster.cancel(launch.job or "")
        elif is_first and launch.state != "cancelled":
            cluster.ask_to_end(launch.job or "")
        elif time.monotonic() - asked_at > GRACE + _MORE:
            cluster.cancel(launch.job or "")


def current(database: Database, launch_id: str) -> Launch:
    """Return the launch that carries on what a launch began, if its job has run again."""
    with database.read() as connection:
        launch = launches.get(connection, launch_id)
        while (again := launches.repeated_by(connection, launch.id)) is not None:
            launch = again
    return launch

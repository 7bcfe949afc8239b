"""The one who looks after launches of clusters: submits them, and follows their jobs.

Every worker has one, and so has a command that waits for such a launch; several may work at once.
It does nothing, and asks nothing, as long as there is no such launch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from branchtrack.config import Config
from branchtrack.core.launchers.jobs import SUBMITTING
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs
from branchtrack.errors import ClusterUnreachable, UntrustedHome
from branchtrack.launching.clusters import registry, submission
from branchtrack.launching.clusters.cluster import Cluster
from branchtrack.launching.clusters.watch import Watch

#: Seconds between two questions to a cluster, and between two looks at the launches of the home.
EVERY = 10.0
_LOOK_EVERY = 1.0
#: Seconds without any answer after which a cluster that takes its jobs along counts as gone.
GONE_AFTER = 40.0


class Shepherd:
    """Looks after the launches of clusters, or those of ``only``; for use by one thread.

    ``every`` are the seconds between two questions to a cluster.
    """

    def __init__(
        self,
        database: Database,
        config: Config,
        name: str,
        *,
        say: Callable[[str], None] = lambda text: None,
        only: Collection[str] | None = None,
        every: float = EVERY,
    ) -> None:
        self.database, self.config, self.name, self.only = database, config, name, only
        self.every = every
        self._say, self._last_said = say, ""
        self._watch = Watch(database, config)
        self._next_look = self._next_question = 0.0
        self._silent_since: dict[tuple[str, str], float] = {}

    def look(self, *, at_once: bool = False) -> None:
        """Do what is due; ``at_once`` also what is not.

        Raises:
            StorageError: the database failed. Trouble with a cluster is only said.
        """
        moment = time.monotonic()
        if moment < self._next_look and not at_once:
            return
        self._next_look = moment + min(_LOOK_EVERY, self.every)
        is_due = at_once or moment >= self._next_question
        clusters = self._by_cluster()
        present = {(cluster.kind, cluster.where) for cluster, _ in clusters}
        self._silent_since = {k: t for k, t in self._silent_since.items() if k in present}
        for cluster, launches in clusters:
            if not cluster.missing():
                self._look_after(cluster, launches, is_due)
        if moment >= self._next_question:
            self._next_question = moment + self.every

    def _by_cluster(self) -> Sequence[tuple[Cluster, Sequence[Launch]]]:
        with self.database.read() as connection:
            listed = [
                *jobs.unsubmitted(connection, self.only),
                *jobs.with_jobs(connection, self.only),
            ]
        clusters: dict[tuple[str, str], tuple[Cluster, list[Launch]]] = {}
        for launch in listed:
            if (cluster := registry.of_launch(launch)) is not None:
                clusters.setdefault((cluster.kind, cluster.where), (cluster, []))[1].append(launch)
        return list(clusters.values())

    def _look_after(self, cluster: Cluster, launches: Sequence[Launch], is_due: bool) -> None:
        watched = [launch for launch in launches if launch.job is not None]
        try:
            for launch in launches:
                self._submit(cluster, launch, is_due)
            if watched and (is_due or any(map(self._watch.is_urgent, watched))):
                self._watch.look(cluster, watched)
            if is_due:
                self._silent_since.pop((cluster.kind, cluster.where), None)
            self._last_said = ""
        except (ClusterUnreachable, UntrustedHome) as error:
            self._next_question = time.monotonic() + self.every
            if isinstance(error, ClusterUnreachable):
                self._miss(cluster, watched, error.what)
            self.say_once(f"{error} Trying again.")

    def say_once(self, text: str) -> None:
        """Report trouble once, when it begins, however often it is met."""
        if text != self._last_said:
            self._last_said = text
            self._say(text)

    def _miss(self, cluster: Cluster, watched: Sequence[Launch], why: str) -> None:
        now = time.monotonic()
        since = self._silent_since.setdefault((cluster.kind, cluster.where), now)
        if cluster.takes_jobs_along:
            self._watch.miss(watched, why, is_gone=now - since > GONE_AFTER)

    def _submit(self, cluster: Cluster, launch: Launch, is_due: bool) -> None:
        before = launch.state
        facts = (self.database, self.config, cluster, launch, self.name)
        if launch.job_state is None:
            launch = submission.submit(*facts)
        elif launch.job_state == SUBMITTING and launch.job is None and is_due:
            launch = submission.resume(*facts)
        else:
            return
        if launch.job is not None:
            self._say(f"Launch {launch.id} is job {launch.job} of {jobs.cluster(launch)}")
        elif launch.error and launch.state != before:
            self._say(f"Launch {launch.id} {launch.state}: {launch.error}")

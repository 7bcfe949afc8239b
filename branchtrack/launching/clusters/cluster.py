"""What every kind of cluster can do for launches: a small protocol.

A cluster runs one job for a launch: the script that `job_files` writes, which becomes a worker for
that one launch on a machine of the cluster. It must not know the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from branchtrack.core.launchers.jobs import JobStatus


@dataclass(frozen=True)
class JobOrder:
    """A job to be submitted: its ``name``, the options of its launcher, its ``script``, its output.

    ``folder`` is where it begins. ``submission`` names this one submission of the launch, for
    clusters that take an id.
    """

    name: str
    options: Sequence[str]
    script: Path
    output: Path
    folder: Path
    submission: str


class Cluster(Protocol):
    """A kind of cluster, as this machine reaches it."""

    @property
    def kind(self) -> str:
        """The name of the kind."""

    @property
    def where(self) -> str:
        """Which of several clusters of its kind it is: an address; empty if there is one only."""

    @property
    def takes_jobs_along(self) -> bool:
        """Whether its jobs are gone once it is."""

    def missing(self) -> str:
        """Return in a sentence what is missing here to reach it; empty if nothing is."""

    def command(self, order: JobOrder) -> list[str]:
        """Return the command that submits a job, as `submit` runs it."""

    def submit(self, order: JobOrder, keep: Sequence[int] = ()) -> str:
        """Submit a job, and return its id.

        ``keep`` are descriptors that stay open as long as the submission is under way, even if this
        process dies.

        Raises:
            LaunchFailed: it was refused. ClusterUnreachable: nobody knows whether it was accepted.
        """

    def jobs(self, names: Sequence[str]) -> Mapping[str, Sequence[JobStatus]]:
        """Return by name the jobs that are known, in one question for all.

        Raises:
            ClusterUnreachable: it did not answer.
        """

    def fate(self, job: str, name: str) -> JobStatus | None:
        """Return what became of a job that is not listed any more; None if nothing knows it.

        Raises:
            ClusterUnreachable: it did not answer.
        """

    def ask_to_end(self, job: str) -> None:
        """Have a running job make a node and end.

        Raises:
            ClusterUnreachable: it did not answer.
        """

    def cancel(self, job: str) -> None:
        """End a job, whatever its state.

        Raises:
            ClusterUnreachable: it did not answer.
        """

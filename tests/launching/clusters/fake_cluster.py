"""A cluster that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.errors import ClusterUnreachable, LaunchFailed
from branchtrack.launching.clusters.cluster import JobOrder


@dataclass
class FakeCluster:
    """Jobs by id; ``lists`` says whether they are listed, ``knows`` whether their fate is known."""

    kind: str = "slurm"
    where: str = ""
    takes_jobs_along: bool = False
    submitted: dict[str, JobStatus] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    lists: bool = True
    knows: bool = True
    is_up: bool = True
    refusal: str = ""
    #: What happens to a submission that is answered by nobody: was it accepted?
    is_accepted_silently: bool | None = None

    def missing(self) -> str:
        return ""

    def command(self, order: JobOrder) -> list[str]:
        return ["submit", *order.options, order.name]

    def submit(self, order: JobOrder, keep: Sequence[int] = ()) -> str:
        self._answer(f"submit {order.name}")
        if self.refusal:
            raise LaunchFailed(self.refusal)
        if self.is_accepted_silently is not None:
            if self.is_accepted_silently:
                self.add(order.name)
            raise ClusterUnreachable("It does not answer.", cluster="fake")
        return self.add(order.name)

    def jobs(self, names: Sequence[str]) -> Mapping[str, Sequence[JobStatus]]:
        self._answer(f"jobs {len(names)}")
        listed = [s for s in self.submitted.values() if self.lists and s.name in names]
        return {name: [s for s in listed if s.name == name] for name in names}

    def fate(self, job: str, name: str) -> JobStatus | None:
        self._answer(f"fate {job}")
        return self.submitted.get(job) if self.knows else None

    def ask_to_end(self, job: str) -> None:
        self._answer(f"ask {job}")

    def cancel(self, job: str) -> None:
        self._answer(f"cancel {job}")
        self.say(job, "CANCELLED")

    def add(self, name: str) -> str:
        """A new job that waits."""
        job = str(len(self.submitted) + 1)
        self.submitted[job] = JobStatus(job, name, "PENDING", "", "Priority", "fake")
        return job

    def say(self, job: str, state: str, host: str = "", reason: str = "") -> None:
        """What becomes of a job."""
        name = self.submitted[job].name
        self.submitted[job] = JobStatus(job, name, state, host, reason, "fake")

    def _answer(self, question: str) -> None:
        if not self.is_up:
            raise ClusterUnreachable("It does not answer.", cluster="fake")
        self.asked.append(question)

"""A client of Ray's job API that answers from memory, with the errors of the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Details:
    """What is read of Ray's ``JobDetails``."""

    submission_id: str | None
    status: str = "PENDING"
    message: str | None = None
    agent: str | None = None
    driver_info: Any = None

    @property
    def driver_agent_http_address(self) -> str | None:
        return self.agent


@dataclass
class FakeClient:
    """Jobs by id; ``error`` is raised by whatever is asked."""

    jobs: dict[str, Details] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    error: Exception | None = None

    def submit_job(self, **order: Any) -> str:
        self._answer("submit")
        self.orders.append(order)
        job: str = order["submission_id"]
        if job in self.jobs:
            raise RuntimeError(
                "Request failed with status code 400: Traceback (most recent call last):\n"
                f"ValueError: Job with submission_id {job} already exists. Please use another.\n."
            )
        self.jobs[job] = Details(job)
        return job

    def list_jobs(self) -> list[Details]:
        self._answer("list")
        return list(self.jobs.values())

    def get_job_info(self, job: str) -> Details:
        self._answer(f"info {job}")
        return self._known(job)

    def stop_job(self, job: str) -> bool:
        self._answer(f"stop {job}")
        self._known(job).status = "STOPPED"
        return True

    def _known(self, job: str) -> Details:
        if job not in self.jobs:
            raise RuntimeError(f"Request failed with status code 404: Job {job} does not exist.")
        return self.jobs[job]

    def _answer(self, question: str) -> None:
        self.asked.append(question)
        if self.error is not None:
            raise self.error

"""Ray by its job API: ``ray.job_submission.JobSubmissionClient``, imported when it is needed.

The id of a job is ours, and Ray takes each id once: whoever submits again, there is one job. It
must not know the database.
"""

from __future__ import annotations

import importlib
import os
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from branchtrack.core.launchers import ray_options
from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.core.launchers.ray_options import RayOptions
from branchtrack.errors import ClusterUnreachable, InvalidInput, LaunchFailed
from branchtrack.launching.children import GRACE
from branchtrack.launching.clusters import ray_answers
from branchtrack.launching.clusters.cluster import JobOrder

#: Seconds for an answer: the client itself would wait for ever.
PATIENCE = 20.0
#: What names the cluster at a shell; Ray's own order.
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
#: Seconds that a job has to end after SIGTERM; Ray's 3 are too few for a node.
_TIME_TO_END = int(GRACE) + 30
#: What the client is made of; ray alone lacks some of it.
_MODULES = ("ray", "aiohttp", "requests")
_Answer = TypeVar("_Answer")
_clients: dict[str, Any] = {}


def _connect(address: str) -> Any:
    """Return a client of the job API at an address, which has answered."""
    if address not in _clients:
        _clients[address] = importlib.import_module("ray.job_submission").JobSubmissionClient(
            address
        )
    return _clients[address]


@dataclass(frozen=True)
class Ray:
    """The Ray cluster whose job API is at ``where``, an address; empty if nothing names one."""

    where: str

    kind = "ray"
    takes_jobs_along = True

    @classmethod
    def of(cls, options: Sequence[str]) -> Ray:
        """Return the cluster that the options of a job name, or else a variable."""
        if address := ray_options.parsed(options).address:
            return cls(address)
        for name in VARIABLES:
            with suppress(InvalidInput):
                return cls(ray_options.valid_address(os.environ.get(name, "")))
        return cls("")

    def missing(self) -> str:
        """Return in a sentence what is missing here to reach it; empty if nothing is."""
        if any(find_spec(module) is None for module in _MODULES):
            return 'Ray\'s job API needs a package: pip install "branchtrack[ray]".'
        if not self.where:
            return (
                "Nothing says where Ray is: give --address=http://HOST:8265, the address of its "
                f"dashboard, or set {' or '.join(VARIABLES)} to that."
            )
        return ""

    def command(self, order: JobOrder) -> list[str]:
        """Return the command of Ray's that submits the same job as `submit` does."""
        options = ray_options.parsed(order.options)
        asked = {name.replace("_", "-"): value for name, value in options.entrypoint().items()}
        return [
            *("ray", "job", "submit", f"--address={self.where}"),
            f"--submission-id={order.submission}",
            *(f"--{name}={_spelled(value)}" for name, value in asked.items()),
            *("--no-wait", "--", *_entrypoint(order)),
        ]

    def submit(self, order: JobOrder, keep: Sequence[int] = ()) -> str:
        """Submit a job, and return its id; see `Cluster.submit`.

        Raises:
            LaunchFailed: Ray refused it. ClusterUnreachable: nobody knows whether it was accepted.
        """
        options: RayOptions = ray_options.parsed(order.options)
        try:
            self._ask(
                lambda client: client.submit_job(
                    entrypoint=shlex.join(_entrypoint(order)),
                    submission_id=order.submission,
                    metadata={"branchtrack": order.name},
                    runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_TIME_TO_END)}},
                    **options.entrypoint(),
                )
            )
        except RuntimeError as error:
            code, why = ray_answers.refusal(error)
            # Whoever submitted before has died, or has not heard of it.
            if "already exists" in str(error):
                return order.submission
            if code >= 500 or not code:
                raise self._unreachable(why) from error
            raise LaunchFailed(
                f"Ray refused the job: {why}.",
                safe="The node that it should have continued is untouched.",
                fix="The words after `--`, or the options of the profile, are resources of the "
                "job: `branchtrack launcher list` shows profiles.",
                launch=None,
                exit_code=None,
                log=None,
            ) from error
        return order.submission

    def jobs(self, names: Sequence[str]) -> Mapping[str, Sequence[JobStatus]]:
        """Return the jobs of those names, in one call.

        Raises:
            ClusterUnreachable: it did not answer.
        """
        return ray_answers.by_name(self._answer(lambda client: client.list_jobs()), names)

    def fate(self, job: str, name: str) -> JobStatus | None:
        """Return what Ray knows of a job; None if it was deleted, or Ray began anew since.

        Raises:
            ClusterUnreachable: it did not answer.
        """
        details = self._answer(lambda client: client.get_job_info(job))
        return None if details is None else ray_answers.status(details)

    def ask_to_end(self, job: str) -> None:
        """Have Ray send SIGTERM to a job, which makes a node; later it ends it by force.

        Raises:
            ClusterUnreachable: it did not answer.
        """
        self._answer(lambda client: client.stop_job(job))

    def cancel(self, job: str) -> None:
        """End a job; one that waits for resources ends when Ray would start it.

        Raises:
            ClusterUnreachable: it did not answer.
        """
        self._answer(lambda client: client.stop_job(job))

    def _answer(self, question: Callable[[Any], _Answer]) -> _Answer | Any:
        """Return the answer to a question; None if there is no such job."""
        try:
            return self._ask(question)
        except RuntimeError as error:
            code, why = ray_answers.refusal(error)
            if code == 404:
                return None
            raise self._unreachable(why) from error

    def _ask(self, question: Callable[[Any], _Answer]) -> _Answer:
        answers: list[_Answer] = []
        errors: list[Exception] = []

        def ask() -> None:
            try:
                answers.append(question(_connect(self.where)))
            except Exception as error:
                errors.append(error)

        # A thread that hangs in a connection keeps nobody.
        thread = threading.Thread(target=ask, name="branchtrack-ray", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if errors:
            if type(errors[0]) is RuntimeError:
                raise errors[0]
            raise self._unreachable(ray_answers.refusal(errors[0])[1]) from errors[0]
        if not answers:
            raise self._unreachable(f"it said nothing within {PATIENCE:g} s")
        return answers[0]

    def _unreachable(self, why: str) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"Ray at {self.where} does not answer: {why}.",
            safe="What was submitted goes on.",
            fix="`ray job list --address=...` says whether its job API is up.",
            cluster="ray",
        )


def _entrypoint(order: JobOrder) -> list[str]:
    return ["/bin/bash", str(order.script)]


def _spelled(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "{" + ", ".join(f'"{name}": {number}' for name, number in value.items()) + "}"

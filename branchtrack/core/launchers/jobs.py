"""Jobs of clusters as values: their names, what a cluster says of one, and which states are final.

A job's state is kept in the cluster's own word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from branchtrack.core.launchers.profiles import title
from branchtrack.core.lifecycle import LAUNCH_ENDS
from branchtrack.core.records import Launch

#: The state of a job that is about to be submitted; whoever is, has written so before.
SUBMITTING = "SUBMITTING"
#: A job that its cluster does not know any more.
UNKNOWN = "UNKNOWN"
PENDING, RUNNING = "PENDING", "RUNNING"
#: States in which a job has no process, and will get one.
WAITING = frozenset(
    f"{PENDING} REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT CONFIGURING".split()
)
#: States that a job does not leave any more.
OVER = frozenset(
    f"BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED "
    f"TIMEOUT {UNKNOWN}".split()
)
_PREFIX = "branchtrack-"
_SUBMISSION = re.compile(rf"({_PREFIX}\w+)-left-\d+")


@dataclass(frozen=True)
class JobStatus:
    """What a cluster says of a job: its ``state``, the ``host`` it runs on, why it waits or ended.

    ``source`` is the cluster's command that said so.
    """

    job: str
    name: str
    state: str
    host: str = ""
    reason: str = ""
    source: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether it has no process, and will get one."""
        return self.state in WAITING

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in OVER


def job_name(launch_id: str) -> str:
    """Return the name of the job of a launch, by which it is found whoever submitted it."""
    return f"{_PREFIX}{launch_id}"


def submission_id(name: str, retries: int | None) -> str:
    """Return the id of a job whose cluster takes ours: one for each submission of a launch.

    ``name`` is the job's name, ``retries`` how many more are left after this one, if any are given.
    """
    return name if retries is None else f"{name}-left-{retries}"


def name_of_submission(submission: str) -> str:
    """Return the name of the job that a `submission_id` is of; another text stays as it is."""
    matched = _SUBMISSION.fullmatch(submission)
    return matched[1] if matched else submission


def is_open(job_state: str | None) -> bool:
    """Return whether something is still to be expected of a job in that state."""
    return job_state is not None and job_state not in OVER


def shown_state(state: str, launch_state: str | None, job: str | None) -> str:
    """Return the state of a launch or its branch, finer where a cluster's job carries it out.

    What waits is ``submitted`` until its process is there, and then ``starting``.
    """
    if job is None or state not in ("waiting", "queued"):
        return state
    return {"queued": "submitted", "starting": "starting", "running": "starting"}.get(
        launch_state or "", state
    )


def words(launch: Launch) -> str:
    """Return where a launch of a cluster is: ``Slurm job 12: PENDING (Priority)``; else "".

    Without a job it says why there is none yet.
    """
    if launch.launcher is None:
        return ""
    where = title(launch.launcher["kind"])
    if launch.job is None and launch.job_state is None and launch.state in LAUNCH_ENDS:
        return f"{where}: no job was submitted"
    if launch.job is None:
        why = f": {launch.job_reason}" if launch.job_reason else ""
        return f"{where}: not submitted yet{why}"
    host = f" on {launch.job_host}" if launch.job_host else ""
    why = f" ({launch.job_reason})" if launch.job_reason else ""
    return f"{where} job {launch.job}: {launch.job_state}{host}{why}"


def as_json(launch: Launch) -> dict[str, Any] | None:
    """Return the job of a launch as JSON: ``kind id state host reason``; None without a cluster."""
    if launch.launcher is None:
        return None
    return {
        "kind": launch.launcher["kind"],
        "id": launch.job,
        "state": launch.job_state,
        "host": launch.job_host,
        "reason": launch.job_reason,
    }

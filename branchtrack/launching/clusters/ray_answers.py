"""What Ray's job API answers, as values.

Pure values: it asks nothing, and imports nothing of Ray's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from branchtrack.core.launchers.jobs import JobStatus, name_of_submission

#: Ray's words for states, as those that all clusters have.
_STATES = {"SUCCEEDED": "COMPLETED", "STOPPED": "CANCELLED"}
#: States of which its message says nothing more.
_SELF_EVIDENT = frozenset(("RUNNING", "SUCCEEDED"))
_LONGEST = 300
_SYSTEM = re.compile(r"\[Errno -?\d+\] ([\w ,-]+)")
_CODE = re.compile(r"status code (\d{3}): (.*)", re.DOTALL)


def status(job: Any) -> JobStatus:
    """Return what a ``JobDetails`` of Ray's says of a job."""
    submission = job.submission_id or ""
    state = str(getattr(job.status, "value", job.status))
    return JobStatus(
        submission,
        name_of_submission(submission),
        _STATES.get(state, state),
        _host(job),
        "" if state in _SELF_EVIDENT else _first_line(job.message),
        "its job API",
    )


def by_name(jobs: Iterable[Any], names: Sequence[str]) -> Mapping[str, Sequence[JobStatus]]:
    """Return the jobs of those names; what others submitted is left out."""
    wanted, listed = set(names), defaultdict[str, list[JobStatus]](list)
    for job in jobs:
        if job.submission_id and name_of_submission(job.submission_id) in wanted:
            listed[name_of_submission(job.submission_id)].append(status(job))
    return listed


def refusal(error: Exception) -> tuple[int, str]:
    """Return the HTTP status that an error of Ray's client tells of, 0 for none, and why."""
    if system := _SYSTEM.search(str(error)):
        return 0, system[1]
    matched = _CODE.search(str(error))
    code, text = (int(matched[1]), matched[2]) if matched else (0, str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")] or [
        type(error).__name__
    ]
    # A traceback says at its end what happened.
    line = lines[-1] if "Traceback" in text else lines[0]
    return code, re.sub(r"^\w+: ", "", line)[:_LONGEST].rstrip(".")


def _host(job: Any) -> str:
    agent = urlsplit(job.driver_agent_http_address or "").hostname
    driver = job.driver_info.node_ip_address if job.driver_info else None
    return agent or driver or ""


def _first_line(message: str | None) -> str:
    line = next(iter((message or "").strip().splitlines()), "")
    # What the job printed would follow.
    return line.partition(", last available logs")[0][:_LONGEST].rstrip(".")

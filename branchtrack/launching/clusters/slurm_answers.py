"""What Slurm's commands answer, as values: squeue, `scontrol show job` and sacct.

Pure values: it runs no command.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from branchtrack.core.launchers.jobs import JobStatus

#: What is asked of squeue of each job, and of sacct.
SQUEUE = "%i|%T|%r|%N|%j"
SACCT = "JobID,State,Reason,NodeList,JobName"
#: Words of Slurm's for nothing.
_NOTHING = frozenset(("", "None", "(null)", "None assigned", "N/A"))
_FIELD = re.compile(r"(?:^|\s)([A-Za-z:/]+)=((?:(?!\s+[A-Za-z:/]+=).)*)", re.DOTALL)
_UNREACHABLE = re.compile(
    r"unable to contact slurm|socket timed out|connection (refused|reset|timed out)|"
    r"zero bytes were transmitted|communication connection failure|transport endpoint|"
    r"could not establish a configuration source|temporarily unable to accept|"
    r"protocol authentication error|munge",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"^\w+: (error: |fatal: )?", re.MULTILINE)


def of_squeue(text: str) -> Mapping[str, Sequence[JobStatus]]:
    """Return the jobs that squeue lists, by name."""
    listed: dict[str, list[JobStatus]] = defaultdict(list)
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) == 5:
            job, state, reason, host, name = parts
            status = JobStatus(job, name, _state(state), _word(host), _word(reason), "squeue")
            listed[name].append(status)
    return listed


def of_scontrol(text: str, name: str) -> JobStatus | None:
    """Return what `scontrol show job` says of a job; None if it has another name."""
    fields = {key: value.strip() for key, value in _FIELD.findall(text)}
    if fields.get("JobName") != name or "JobState" not in fields:
        return None
    return JobStatus(
        fields.get("JobId", ""),
        name,
        _state(fields["JobState"]),
        _word(fields.get("NodeList", "")),
        _word(fields.get("Reason", "")),
        "scontrol",
    )


def of_sacct(text: str, name: str) -> JobStatus | None:
    """Return what sacct says of a job; None if it has another name, or none is recorded."""
    for line in reversed(text.splitlines()):
        parts = line.strip().split("|")
        if len(parts) == 5 and parts[4] == name:
            job, state, reason, host, _ = parts
            # "CANCELLED by 1000" says who cancelled it.
            by = f"{state.partition(' ')[2]} {_word(reason)}".strip()
            return JobStatus(job, name, _state(state), _word(host), by, "sacct")
    return None


def is_unreachable(error: str) -> bool:
    """Return whether a command has failed because Slurm could not be asked."""
    return bool(_UNREACHABLE.search(error))


def plain(error: str) -> str:
    """Return what a command printed of its failure, without the names of Slurm's programs."""
    return " ".join(_PREFIX.sub("", error.strip()).split()) or "it gave no reason"


def _state(text: str) -> str:
    """Return a state without who caused it, and without a mark that it was cut."""
    return (text.split() or ["UNKNOWN"])[0].rstrip("+").upper()


def _word(text: str) -> str:
    return "" if text.strip() in _NOTHING else text.strip()

"""Jobs as values: names, states that are final, and the words that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from branchtrack.core.launchers import jobs
from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.core.records import Launch

SLURM = {"name": "gpu", "kind": "slurm", "options": []}


def launch(**facts: Any) -> Launch:
    empty: dict[str, Any] = dict.fromkeys(
        name for name, field in Launch.__dataclass_fields__.items() if field.type != "bool"
    )
    return Launch(**{**empty, "id": "a" * 16, **facts})


def test_a_job_is_named_after_its_launch() -> None:
    assert jobs.job_name("a" * 16) == f"branchtrack-{'a' * 16}"


def test_states_say_whether_something_is_still_to_be_expected() -> None:
    def status(state: str) -> JobStatus:
        return JobStatus("1", "n", state)

    assert status("PENDING").is_waiting and status("REQUEUE_HOLD").is_waiting
    assert not status("RUNNING").is_waiting and not status("COMPLETING").is_over
    assert status("NODE_FAIL").is_over and status(jobs.UNKNOWN).is_over
    assert [jobs.is_open(state) for state in (None, "PENDING", "SUBMITTING", "FAILED")] == [
        False,
        True,
        True,
        False,
    ]


def test_where_a_launch_is_is_said_in_words() -> None:
    assert jobs.words(launch()) == "" and jobs.as_json(launch()) is None
    waits = launch(launcher=SLURM)
    assert jobs.words(waits) == "Slurm: not submitted yet"
    failed = replace(waits, job_state="SUBMITTING", job_reason="It does not answer.")
    assert jobs.words(failed) == "Slurm: not submitted yet: It does not answer."
    refused = replace(waits, state="failed")
    assert jobs.words(refused) == "Slurm: no job was submitted"
    pending = replace(waits, job="12", job_state="PENDING", job_reason="Priority")
    assert jobs.words(pending) == "Slurm job 12: PENDING (Priority)"
    running = replace(waits, job="12", job_state="RUNNING", job_host="n01")
    assert jobs.words(running) == "Slurm job 12: RUNNING on n01"
    assert jobs.as_json(running) == {
        "kind": "slurm",
        "id": "12",
        "state": "RUNNING",
        "host": "n01",
        "reason": None,
    }


def test_what_waits_with_a_job_waits_in_its_cluster() -> None:
    assert jobs.shown_state("waiting", "queued", "12") == "submitted"
    assert jobs.shown_state("queued", "queued", "12") == "submitted"
    assert jobs.shown_state("waiting", "running", "12") == "starting"
    assert jobs.shown_state("waiting", "failed", "12") == "waiting"
    assert jobs.shown_state("queued", "queued", None) == "queued"
    assert jobs.shown_state("running", "running", "12") == "running"

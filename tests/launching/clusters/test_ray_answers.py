"""What Ray's job API answers: states in the words of all clusters, reasons in one line."""

from __future__ import annotations

import pytest

from branchtrack.launching.clusters import ray_answers
from tests.launching.clusters.fake_ray import Details


@pytest.mark.parametrize(
    "state, mapped, is_over",
    [
        ("PENDING", "PENDING", False),
        ("RUNNING", "RUNNING", False),
        ("STOPPED", "CANCELLED", True),
        ("SUCCEEDED", "COMPLETED", True),
        ("FAILED", "FAILED", True),
    ],
)
def test_states_are_those_of_all_clusters(state: str, mapped: str, is_over: bool) -> None:
    status = ray_answers.status(Details("branchtrack-0a", state))
    assert (status.state, status.is_over) == (mapped, is_over)
    assert status.is_waiting == (state == "PENDING")


def test_a_message_is_the_reason_without_what_the_job_printed() -> None:
    printed = "Job failed with exit code 1, last available logs (truncated):\nsecret"
    failed = ray_answers.status(Details("branchtrack-0a", "FAILED", printed))
    assert failed.reason == "Job failed with exit code 1"
    running = ray_answers.status(Details("branchtrack-0a", "RUNNING", "Job is currently running."))
    assert running.reason == ""


def test_the_node_is_that_of_the_entrypoint() -> None:
    status = ray_answers.status(Details("branchtrack-0a", "RUNNING", agent="http://10.0.0.7:5"))
    assert status.host == "10.0.0.7"
    assert ray_answers.status(Details("branchtrack-0a")).host == ""


def test_jobs_are_listed_by_the_name_of_their_launch() -> None:
    jobs = [
        Details("branchtrack-0a"),
        Details("branchtrack-0a-left-1"),
        Details("x"),
        Details(None),
    ]
    listed = ray_answers.by_name(jobs, ["branchtrack-0a"])
    assert list(listed) == ["branchtrack-0a"]
    assert [s.job for s in listed["branchtrack-0a"]] == ["branchtrack-0a", "branchtrack-0a-left-1"]


def test_errors_are_told_by_their_status_and_last_line() -> None:
    failed = "Request failed with status code"
    traceback = f"{failed} 400: Traceback (most recent call last):\n  x\nValueError: no.\n."
    assert ray_answers.refusal(RuntimeError(f"{failed} 404: No.")) == (404, "No")
    assert ray_answers.refusal(RuntimeError(traceback)) == (400, "no")
    refused = 'Max retries (Caused by New("HTTP: [Errno 111] Connection refused"))'
    assert ray_answers.refusal(OSError(refused)) == (0, "Connection refused")
    assert ray_answers.refusal(ConnectionError("gone")) == (0, "gone")

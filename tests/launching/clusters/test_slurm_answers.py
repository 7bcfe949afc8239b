"""What Slurm's commands print, read: states, reasons, hosts, and whether it was asked at all."""

from __future__ import annotations

import pytest

from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.launching.clusters import slurm_answers

NAME = "branchtrack-a"


def test_squeue_is_read_by_name() -> None:
    text = f"""12|RUNNING|None|n[01-02]|{NAME}
13|PENDING|QOSMaxJobsPerUserLimit||{NAME}
14|PENDING|Resources||other
odd line
"""
    assert slurm_answers.of_squeue(text) == {
        NAME: [
            JobStatus("12", NAME, "RUNNING", "n[01-02]", "", "squeue"),
            JobStatus("13", NAME, "PENDING", "", "QOSMaxJobsPerUserLimit", "squeue"),
        ],
        "other": [JobStatus("14", "other", "PENDING", "", "Resources", "squeue")],
    }


SCONTROL = f"""JobId=12 JobName={NAME}
   UserId=me(1) GroupId=me(1) MCS_label=N/A
   JobState=NODE_FAIL Reason=NodeDown Dependency=(null)
   NodeList=n01
   BatchHost=n01
   Command=/a b/JobState=x
"""


def test_scontrol_is_read_for_the_job_of_that_name_alone() -> None:
    found = slurm_answers.of_scontrol(SCONTROL, NAME)
    assert found == JobStatus("12", NAME, "NODE_FAIL", "n01", "NodeDown", "scontrol")
    assert slurm_answers.of_scontrol(SCONTROL, "branchtrack-b") is None
    assert slurm_answers.of_scontrol("", NAME) is None


def test_sacct_is_read_with_who_cancelled() -> None:
    text = f"12|CANCELLED by 1000|None|n01|{NAME}\n"
    found = slurm_answers.of_sacct(text, NAME)
    assert found == JobStatus("12", NAME, "CANCELLED", "n01", "by 1000", "sacct")
    assert slurm_answers.of_sacct(text, "branchtrack-b") is None
    cut = slurm_answers.of_sacct(f"12|OUT_OF_ME+|None|None assigned|{NAME}\n", NAME)
    assert cut is not None and (cut.state, cut.host) == ("OUT_OF_ME", "")


@pytest.mark.parametrize(
    "error, is_so",
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller", True),
        ("squeue: error: Socket timed out on send/recv operation", True),
        ("sbatch: fatal: Could not establish a configuration source", True),
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", False),
    ],
)
def test_a_refusal_is_told_from_a_silence(error: str, is_so: bool) -> None:
    assert slurm_answers.is_unreachable(error) == is_so


def test_an_error_is_said_without_the_programs_name() -> None:
    error = "sbatch: error: no such partition: x\nsbatch: error: failed\n"
    assert slurm_answers.plain(error) == "no such partition: x failed"
    assert slurm_answers.plain("") == "it gave no reason"

"""Environment variables: which are remembered, and what a resume makes of them."""

from __future__ import annotations

import pytest

from branchtrack.core import variables
from branchtrack.errors import InvalidInput

THEN = {
    "MY_SCALE": "3", "HF_TOKEN": "s3cret", "DB": "postgresql://me:pw@host/x", "HOME": "/home/a",
    "SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "4", "CUDA_VISIBLE_DEVICES": "1",
}  # fmt: skip


def test_secrets_are_remembered_by_name_alone_and_what_is_outside_not_at_all() -> None:
    recorded = variables.recorded(THEN)
    assert recorded["values"] == {
        "MY_SCALE": "3", "SLURM_ARRAY_TASK_ID": "4", "CUDA_VISIBLE_DEVICES": "1",
    }  # fmt: skip
    assert recorded["secrets"] == ["DB", "HF_TOKEN"]


def test_what_was_there_is_given_back_and_said() -> None:
    before = variables.recorded(THEN)
    now = {"MY_SCALE": "5", "HOME": "/home/b", "CUDA_VISIBLE_DEVICES": "0", "NEW": "1"}
    found = variables.compare(before, now)
    assert found.variables == {"MY_SCALE": "3", "SLURM_ARRAY_TASK_ID": "4"}
    assert found.given_back == {"SLURM_ARRAY_TASK_ID": "4"} and found.replaced == {"MY_SCALE": "3"}
    assert found.missing == ("DB", "HF_TOKEN") and found.added == ("NEW",)
    said = " ".join(found.sentences())
    assert "MY_SCALE=3" in said and "HF_TOKEN" in said and "s3cret" not in said and "NEW" in said
    assert "3" not in str(found.as_dict())


def test_somebody_can_say_otherwise() -> None:
    before = variables.recorded(THEN)
    chosen = variables.compare(before, {}, {"MY_SCALE": "7"})
    assert chosen.variables["MY_SCALE"] == "7" and "MY_SCALE" not in chosen.given_back
    assert variables.compare(before, {}, {"A": "1"}, keep=True).variables == {"A": "1"}
    assert variables.compare(None, {"A": "1"}) == variables.Comparison()


def test_a_long_list_says_that_it_is_cut() -> None:
    before = variables.recorded({f"V{number:02}": "x" for number in range(12)})
    (line,) = variables.compare(before, {}).sentences()
    assert line.endswith("and 4 more.")


def test_assignments_are_read_or_refused() -> None:
    assert variables.parse(("A=1", "B=", "C=x=y")) == {"A": "1", "B": "", "C": "x=y"}
    for text in ("A", "=1", "A B=1"):
        with pytest.raises(InvalidInput, match="NAME=VALUE"):
            variables.parse((text,))

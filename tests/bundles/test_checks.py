"""Rows belong to one run, are there once, and refer to rows that are there."""

from __future__ import annotations

from branchtrack.bundles.checks import Checks

RUN = "a" * 16


def test_rows_that_belong_together_have_no_fault() -> None:
    checks = Checks(RUN)
    assert checks.fault("runs", {"id": RUN, "name": "demo", "default_branch": "main"}) == ""
    branch = {"id": "b", "run_id": RUN, "name": "main", "position": 0}
    assert checks.fault("branches", branch) == ""
    assert checks.missing() == ""


def test_one_name_for_two_branches_is_a_fault() -> None:
    checks = Checks(RUN)
    first = {"id": "b", "run_id": RUN, "name": "main", "position": 0}
    assert checks.fault("branches", first) == ""
    assert "twice" in checks.fault("branches", {**first, "id": "c", "position": 1})


def test_a_row_of_another_run_is_a_fault() -> None:
    row = {"id": "b", "run_id": "f" * 16, "name": "main", "position": 0}
    assert "another run" in Checks(RUN).fault("branches", row)


def test_a_reference_to_nothing_is_a_fault() -> None:
    series = {"id": 1, "segment_id": "s", "name": "loss", "sealed": 0}
    assert "segment_id" in Checks(RUN).fault("metric_series", series)


def test_a_checkpoint_of_no_node_and_no_run_at_all_are_faults() -> None:
    checks = Checks(RUN)
    assert "exactly one run" in checks.missing()
    checks.fault("checkpoints", {"digest": "d"})
    assert "none of its nodes" in checks.missing()


def test_a_branch_whose_ends_are_not_its_own_is_a_fault() -> None:
    checks = Checks(RUN)
    checks.fault("runs", {"id": RUN, "name": "demo", "default_branch": "main"})
    branch = {"id": "b", "run_id": RUN, "name": "main", "position": 0, "head_id": "f" * 16}
    assert checks.fault("branches", branch) == ""
    assert "its branch main" in checks.missing()


def test_a_run_without_its_default_branch_is_a_fault() -> None:
    checks = Checks(RUN)
    checks.fault("runs", {"id": RUN, "name": "demo", "default_branch": "main"})
    checks.fault("branches", {"id": "b", "run_id": RUN, "name": "other", "position": 0})
    assert "default branch" in checks.missing()

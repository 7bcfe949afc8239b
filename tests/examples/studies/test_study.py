"""The cells of a study: seed by seed, and one where an arm is the same in every case."""

from __future__ import annotations

from tests.examples.studies.made_up import plan, study


def test_the_first_seed_has_every_arm_before_the_second_begins() -> None:
    cells = list(study().cells(plan()))
    assert [cell.seed for cell in cells] == [0, 0, 0, 1, 1, 1]
    assert [cell.name for cell in cells[:3]] == ["nothing-low-s0", "nothing-high-s0", "tuned-s0"]


def test_an_arm_that_is_the_same_in_every_case_is_trained_once() -> None:
    assert [c.case for c in study().cells(plan()) if c.arm.name == "tuned"] == ["", ""]

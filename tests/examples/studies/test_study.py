"""A study's cells, and outcomes that come back from a file as they were."""

from __future__ import annotations

import json
import math

from branchtrack.examples.studies.study import Outcome
from tests.examples.studies.made_up import outcome, plan, study


def test_the_first_seed_has_every_arm_before_the_second_begins() -> None:
    cells = list(study().cells(plan()))
    assert [cell.seed for cell in cells] == [0, 0, 0, 1, 1, 1]
    assert [cell.name for cell in cells[:3]] == ["nothing-low-s0", "nothing-high-s0", "tuned-s0"]


def test_an_arm_that_is_the_same_in_every_case_is_trained_once() -> None:
    assert [c.case for c in study().cells(plan()) if c.arm.name == "tuned"] == ["", ""]


def test_an_outcome_comes_back_as_it_was() -> None:
    before = outcome("nothing", "low", 1)
    assert Outcome.read(json.loads(json.dumps(before.as_dict()))) == before


def test_a_diverged_outcome_stays_diverged() -> None:
    text = json.dumps(outcome("nothing", "low", 1, math.nan).as_dict(), allow_nan=False)
    again = Outcome.read(json.loads(text))
    assert again.diverged and math.isnan(again.curve[-1][1])

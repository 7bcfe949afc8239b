"""Outcomes come back from a file as they were."""

from __future__ import annotations

import json
import math

from branchtrack.examples.studies.outcome import Outcome
from tests.examples.studies.made_up import outcome


def test_an_outcome_comes_back_as_it_was() -> None:
    before = outcome("nothing", "low", 1)
    assert Outcome.read(json.loads(json.dumps(before.as_dict()))) == before


def test_a_diverged_outcome_stays_diverged() -> None:
    text = json.dumps(outcome("nothing", "low", 1, math.nan).as_dict(), allow_nan=False)
    again = Outcome.read(json.loads(text))
    assert again.diverged and math.isnan(again.curve[-1][1])

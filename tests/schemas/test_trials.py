"""Orders of trials have the fields and defaults of what carries them out."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from pydantic import ValidationError

from branchtrack.control.trials import planning, review
from branchtrack.core.trials.judging import Verdict
from branchtrack.schemas.nodes import Tried
from branchtrack.schemas.trials import ReviewBody, TrialBody


def test_what_is_left_out_is_what_is_usual() -> None:
    body = TrialBody()
    assert (body.steps, body.repeats) == (planning.STEPS, planning.REPEATS)
    assert ReviewBody().repeats == review.REPEATS


def test_an_order_can_say_all_but_the_command() -> None:
    ordered = {field.name for field in fields(planning.TrialOrder)} - {"command"}
    # Of a launcher only the name.
    ordered = ordered - {"launcher"} | {"on"}
    assert ordered <= TrialBody.model_fields.keys()


def test_a_change_has_all_of_its_verdict() -> None:
    assert {field.name for field in fields(Verdict)} <= Tried.model_fields.keys()


@pytest.mark.parametrize(
    "field", [{"steps": 0}, {"repeats": 0}, {"same": "maybe"}, {"nodes": [5]}, {"command": {}}]
)
def test_an_order_out_of_bounds_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrialBody.model_validate(field)

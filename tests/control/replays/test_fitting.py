"""A recording fits a training whole or not at all, and an error names the line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.control.replays.fitting import fit
from branchtrack.core.builtin_settings import BUILT_IN, FROZEN, MAX_STEPS, SEED
from branchtrack.core.capabilities import Capabilities
from branchtrack.core.records import Segment
from branchtrack.db import segments
from branchtrack.errors import InvalidInput
from tests.recordings import SET_LR, at, recording
from tests.trees_for_tests import SETTINGS

LENGTH = replace(MAX_STEPS, live=True)


def training(step: int = 0, max_steps: int | None = 100) -> Segment:
    return replace(
        segments.new("", "", None, step),
        declared=[setting.as_dict() for setting in (*BUILT_IN, FROZEN, LENGTH, SEED)],
        settings={**SETTINGS, "frozen": "", "max_steps": max_steps},
        offers=Capabilities({}, ["body", "body.weight", "head", "head.weight"]).as_dict(),
        max_steps=max_steps,
    )


def test_each_change_has_its_moment_in_that_training() -> None:
    rows = [at(10), {"at": {"fraction": 0.5}, **SET_LR}, {"at": {"once": "loss<1"}, **SET_LR}]
    fitted = fit(recording(*rows), training(max_steps=40))
    assert [entry.checked.conditions for entry in fitted.changes] == [
        {"at_step": 10},
        {"at_step": 20},
        {"once": "loss<1"},
    ]
    assert [entry.step for entry in fitted.changes] == [10, 20, None]


def test_a_relative_value_stays_relative() -> None:
    rows = [at(10, kind="set", values={"lr": "x0.5", "weight_decay": "0.1"})]
    (entry,) = fit(recording(*rows), training()).changes
    assert entry.checked.intervention.model_dump()["values"] == {"lr": "x0.5", "weight_decay": 0.1}


def test_a_change_that_makes_the_training_longer_lets_later_ones_be_made() -> None:
    longer = at(10, kind="set", values={"max_steps": 300})
    assert len(fit(recording(longer, at(200)), training()).changes) == 2
    more = at(10, kind="set", values={"max_steps": "+200"})
    assert len(fit(recording(more, at(200)), training()).changes) == 2
    with pytest.raises(InvalidInput, match="Line 2: at_step"):
        fit(recording(at(200)), training())


def test_modules_can_be_frozen_in_turn() -> None:
    turns = [at(1, kind="freeze", modules="body"), at(2, kind="unfreeze", modules="body")]
    rows = [*turns, at(3, kind="freeze", modules="head")]
    assert len(fit(recording(*rows), training()).changes) == 3


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (at(5, kind="set", values={"lr": 1e9}), "line 3: lr"),
        (at(5, kind="set", values={"speed": 1}), "line 3: speed"),
        (at(5, kind="freeze", modules="encoder"), "line 3: modules"),
        (at(5, kind="act", action="grow"), "line 3: action"),
        (at(101), "line 3: at_step"),
        ({**at(5, kind="set", values={"seed": 3}), "by": "resume"}, "line 3: seed"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(row: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        fit(recording(at(5), row), training())
    assert caught.value.field == field and caught.value.what.startswith("Line 3: ")


def test_a_fraction_needs_a_length() -> None:
    with pytest.raises(InvalidInput, match="Line 2: at.fraction"):
        fit(recording({"at": {"fraction": 0.5}, **SET_LR}), training(max_steps=None))


def test_what_has_passed_is_refused_or_left_out() -> None:
    recorded = recording(at(5), at(20), at(30))
    with pytest.raises(InvalidInput, match="at step 20, past") as caught:
        fit(recorded, training(20))
    assert caught.value.field == "line 2: at.step"
    fitted = fit(recorded, training(20), skip_passed=True)
    assert [entry.step for entry in fitted.changes] == [20, 30]
    assert [change.line for change in fitted.passed] == [2]


def test_what_was_done_is_left_out_and_never_past() -> None:
    fitted = fit(recording(at(5), at(20)), training(10), done={2})
    assert [change.line for change in fitted.done] == [2]
    assert [entry.change.line for entry in fitted.changes] == [3]

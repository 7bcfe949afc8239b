"""One definition of what a setting may be, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.builtin_settings import (
    BUILT_IN,
    LR,
    MAX_GRAD_NORM,
    MAX_STEPS,
    SAVE_STEPS,
)
from branchtrack.core.settings import Setting, parse_assignments
from branchtrack.errors import InvalidInput

KNOWN = {setting.name: setting for setting in BUILT_IN}


@pytest.mark.parametrize(
    "value", ["nan", "-1", "abc", "1_0", "１e-3", "inf", "1e999", "false", "", "0", True, None, [1]]
)
def test_a_learning_rate_that_is_no_positive_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        LR.validate(value)
    assert caught.value.field == "lr"
    assert "greater than 0" in str(caught.value)
    assert "Nothing was changed" in str(caught.value)


@pytest.mark.parametrize("value", ["3e-4", 3e-4, " 0.0003 ", "0.3e-3"])
def test_a_number_may_be_written_in_any_way(value: Any) -> None:
    assert LR.validate(value) == 3e-4


@pytest.mark.parametrize("setting", [MAX_STEPS, SAVE_STEPS])
def test_steps_have_an_upper_bound(setting: Setting) -> None:
    assert setting.validate(str(10**15)) == 10**15
    with pytest.raises(InvalidInput, match="at most 1000000000000000"):
        setting.validate("99999999999999999999999999")


def test_zero_turns_clipping_off_and_is_allowed() -> None:
    assert MAX_GRAD_NORM.validate("0") == 0.0


def test_a_whole_number_must_be_whole() -> None:
    steps = Setting("steps", dtype="int", minimum=1)
    assert steps.validate("12") == 12
    with pytest.raises(InvalidInput, match="a whole number at least 1"):
        steps.validate(1.5)


def test_the_text_false_is_a_boolean_only_where_one_is_declared() -> None:
    assert Setting("flag", dtype="bool").validate("false") is False
    with pytest.raises(InvalidInput, match="true or false"):
        Setting("flag", dtype="bool").validate(0)


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parse_assignments(["lr=1e-3", "note = a=b"]) == {"lr": "1e-3", "note": "a=b"}


@pytest.mark.parametrize("texts", [["lr"], ["=3"], ["lr=1", "lr=2"]])
def test_what_is_no_assignment_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidInput):
        parse_assignments(texts)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 4001, 5])
def test_text_that_cannot_be_kept_is_refused(text: Any) -> None:
    prompt = Setting("prompt", "str")
    with pytest.raises(InvalidInput, match="text of at most 4,000 characters") as caught:
        prompt.validate(text)
    assert len(str(caught.value)) < 300
    assert prompt.validate("ünï 🎉" + "x" * 3000)

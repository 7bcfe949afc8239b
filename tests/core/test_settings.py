"""One definition of what a setting may be, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.settings import (
    BUILT_IN,
    LR,
    MAX_GRAD_NORM,
    MAX_STEPS,
    SAVE_STEPS,
    Setting,
    declared,
    parse_assignments,
    validate_all,
)
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


def test_one_bad_value_refuses_all() -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_all({"lr": "1e-3", "weight_decay": "-1"}, KNOWN)
    assert caught.value.field == "weight_decay"


def test_an_unknown_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="lr, max_grad_norm, weight_decay"):
        validate_all({"learning_rate": "1"}, KNOWN)


def test_no_setting_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput):
        validate_all({}, KNOWN)


def test_declarations_survive_their_json_form() -> None:
    assert declared([setting.as_dict() for setting in BUILT_IN]) == KNOWN


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parse_assignments(["lr=1e-3", "note = a=b"]) == {"lr": "1e-3", "note": "a=b"}


@pytest.mark.parametrize("texts", [["lr"], ["=3"], ["lr=1", "lr=2"]])
def test_what_is_no_assignment_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidInput):
        parse_assignments(texts)


def test_numbers_out_of_bounds_come_to_the_nearest_bound_only_if_asked() -> None:
    known = {one.name: one for one in (LIST, Setting("count", "int", 1, 9), *BUILT_IN)}
    asked = {"weight_decay": "-1", "count": 12, "list": [0.5, 7], "max_grad_norm": 0.5}
    with pytest.raises(InvalidInput):
        validate_all(asked, known)
    assert validate_all(asked, known, clamp=True) == {
        "weight_decay": 0.0,
        "count": 9,
        "list": [0.5, 1.0],
        "max_grad_norm": 0.5,
    }
    assert validate_all({"lr": 1000}, known, clamp=True) == {"lr": 100.0}
    for wrong in ({"lr": 0}, {"lr": "nan"}, {"lr": "inf"}, {"count": 1.5}, {"count": True}):
        with pytest.raises(InvalidInput):
            validate_all(wrong, known, clamp=True)


LIST = Setting("list", "floats", 0.0, 1.0, count=2)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 4001, 5])
def test_text_that_cannot_be_kept_is_refused(text: Any) -> None:
    prompt = Setting("prompt", "str")
    with pytest.raises(InvalidInput, match="text of at most 4,000 characters") as caught:
        prompt.validate(text)
    assert len(str(caught.value)) < 300
    assert prompt.validate("ünï 🎉" + "x" * 3000)

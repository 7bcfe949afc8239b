"""Conditions of a request are refused if they could never hold, and judged where it is applied."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.core import preconditions
from branchtrack.core.builtin_settings import LR
from branchtrack.errors import InvalidInput

DECLARED = {"lr": LR}


def parse(**conditions: Any) -> dict[str, Any]:
    return preconditions.parse(conditions, DECLARED, step=100, now=1000.0)


def test_conditions_are_stored_as_values_and_times() -> None:
    stored = parse(only_if={"lr": "1e-3"}, not_after_step="100", expires_in=60)
    assert stored == {"only_if": {"lr": 1e-3}, "not_after_step": 100, "expires_at": 1060.0}


def test_absent_conditions_are_left_out() -> None:
    assert parse(only_if=None, not_after_step=None, expires_in=None) == parse(only_if={}) == {}


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"unless": 1}, "unless"),
        ({"only_if": "lr"}, "only_if"),
        ({"only_if": {"momentum": 1}}, "only_if.momentum"),
        ({"only_if": {"lr": -1}}, "only_if.lr"),
        ({"not_after_step": 99}, "not_after_step"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": 1e10}, "expires_in"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(conditions: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(**conditions)
    assert caught.value.field == field


def test_a_request_is_overdue_after_its_last_step_and_its_time_alone() -> None:
    stored = {"not_after_step": 100, "expires_at": 1060.0}
    assert preconditions.overdue(stored, step=100, now=1060.0) == ""
    assert "step 101" in preconditions.overdue(stored, step=101, now=0.0)
    assert "0.5 seconds" in preconditions.overdue(stored, step=0, now=1060.5)
    assert preconditions.overdue({}, step=10**9, now=1e12) == ""


def test_the_setting_that_has_another_value_is_named_with_both() -> None:
    stored = {"only_if": {"lr": 0.1}}
    assert preconditions.unmet(stored, {"lr": 0.1 * (1 + 1e-8)}) == ""
    assert preconditions.unmet(stored, {"lr": 0.2}).endswith("only if lr is 0.1, but it is 0.2.")
    assert "is not set" in preconditions.unmet(stored, {})


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [
        (0.1, 0.10000000149, True),
        (0.1, 0.1001, False),
        (math.nan, math.nan, True),
        (math.nan, 0.0, False),
        (math.inf, math.inf, True),
        ((0.9, 0.999), [0.9, 0.999], True),
        ([0.9], [0.9, 0.9], False),
        (True, 1.5, False),
        ("cosine", "cosine", True),
        (0.0, 1e-30, False),
    ],
)
def test_values_are_the_same_within_float32(actual: Any, expected: Any, equal: bool) -> None:
    assert preconditions.same(actual, expected) is equal


def test_the_error_of_a_value_is_one_of_the_condition() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(only_if={"lr": "abc"})
    assert caught.value.field == "only_if.lr"


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"at_step": 99}, "at_step"),
        ({"at_step": 201}, "at_step"),
        ({"at_step": 150, "not_after_step": 140}, "at_step"),
        ({"at_step": "soon"}, "at_step"),
        ({"at_step": 150, "once": "loss<1"}, "once"),
        ({"once": "status:failed"}, "once"),
        ({"once": ""}, "once"),
    ],
)
def test_a_schedule_that_cannot_come_is_refused(conditions: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        preconditions.parse(conditions, DECLARED, step=100, now=0.0, end=200)
    assert caught.value.field == field


def test_a_schedule_is_stored_and_put_into_words() -> None:
    at_end = preconditions.parse({"at_step": "200"}, DECLARED, step=100, now=0.0, end=200)
    assert at_end == {"at_step": 200} and preconditions.is_scheduled(at_end)
    assert preconditions.awaited_words(at_end) == "waits for step 200"
    once = parse(once="eval_loss < 2.50")
    assert once == {"once": "eval_loss<2.5"}
    assert preconditions.awaited_words(once) == "waits until eval_loss<2.5"
    assert parse(at_step=10**9) == {"at_step": 10**9}, "no end is planned"
    assert not preconditions.is_scheduled({"not_after_step": 5, "at_step": None})
    assert preconditions.awaited_words({"not_after_step": 5}) == ""


def test_a_step_that_had_passed_is_never_made_up_for() -> None:
    assert preconditions.overdue({"at_step": 120}, step=120, now=0.0) == ""
    assert "Step 120 had passed" in preconditions.overdue({"at_step": 120}, step=121, now=0.0)

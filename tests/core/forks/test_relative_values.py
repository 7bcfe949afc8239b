"""Relative values are computed from the value in force."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.core.builtin_settings import (
    LR,
    LR_SCHEDULER_KWARGS,
    MAX_STEPS,
    SETTINGS,
    STOP_AT,
)
from branchtrack.core.forks import relative_values
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

SHIFT = Setting("shift", minimum=-10.0, maximum=10.0)
FREE = Setting("free")


def resolve(setting: Setting, value: Any, before: Any) -> Any:
    return relative_values.resolved(
        {setting.name: value}, {setting.name: setting}, {setting.name: before}
    )[setting.name]


def test_rates_are_told_by_their_names() -> None:
    for name in ("lr", "group0.lr", "generator.lr", "learning_rate", "d_lr"):
        assert relative_values.is_rate(Setting(name)), name
    for name in ("color", "lr.betas", "rates", "weight_decay"):
        assert not relative_values.is_rate(Setting(name)), name
    assert not relative_values.is_rate(Setting("lr", "int"))


@pytest.mark.parametrize(
    ("setting", "text", "before", "after"),
    [
        (LR, "x0.5", 1e-3, 5e-4),
        (LR, "*0.5", 1e-3, 5e-4),
        (LR, " x0.1 ", 3e-4, 3e-5),
        (LR, "x1e-1", 1e-3, 1e-4),
        (LR, "+1e-3", 1e-3, 2e-3),
        (LR, "-5e-4", 1e-3, 5e-4),
        (MAX_STEPS, "+200", 300, 500),
        (MAX_STEPS, "-50", 300, 250),
        (MAX_STEPS, "x2", 300, 600),
        (MAX_STEPS, "x0.5", 300, 150),
        (SHIFT, "+-0.5", 0.25, -0.25),
        (SHIFT, "+2", 1.0, 3.0),
    ],
)
def test_a_relative_value_is_computed_exactly_as_it_is_written(
    setting: Setting, text: str, before: Any, after: Any
) -> None:
    result = resolve(setting, text, before)
    assert result == after and type(result) is type(after)


@pytest.mark.parametrize("setting", [SHIFT, FREE])
def test_a_negative_number_is_a_value_where_the_setting_takes_one(setting: Setting) -> None:
    assert resolve(setting, "-0.5", 0.25) == "-0.5"
    assert not relative_values.is_relative(setting, "-0.5")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (LR, "1e-4"),
        (LR, 0.5),
        (LR, "xyz"),
        (LR, "x"),
        (LR, "x-1"),
        (LR, "+inf"),
        (LR_SCHEDULER_KWARGS, "x0.5"),
        (SETTINGS["frozen"], "x0.5"),
        (SETTINGS["betas"], "x0.5"),
    ],
)
def test_everything_else_is_left_for_the_setting_to_judge(setting: Setting, value: Any) -> None:
    assert resolve(setting, value, 1.0) == value


@pytest.mark.parametrize(
    ("setting", "text", "before"),
    [
        (LR, "-1", 1e-3),
        (LR, "x0", 1e-3),
        (LR, "x2", None),
        (LR, "x2", True),
        (MAX_STEPS, "x0.333", 100),
        (MAX_STEPS, "+0.5", 100),
        (MAX_STEPS, "-100", 100),
    ],
)
def test_a_result_that_is_not_allowed_is_refused_with_what_it_would_be(
    setting: Setting, text: str, before: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(setting, text, before)
    assert caught.value.field == setting.name
    assert text in caught.value.what and setting.allowed in caught.value.fix


def test_infinity_can_be_scaled_and_infinity_times_zero_is_refused() -> None:
    clipping = SETTINGS["max_grad_norm"]
    assert resolve(clipping, "x2", math.inf) == math.inf
    with pytest.raises(InvalidInput):
        resolve(clipping, "x0", math.inf)


@pytest.mark.parametrize("setting", [LR, MAX_STEPS, STOP_AT, Setting("norm", infinite=True)])
@pytest.mark.parametrize(
    "text",
    ["x1e999999999", "+1e5000", "x1e400", f"+{'9' * 5000}", f"x{'9' * 5000}", f"x1e{'9' * 30}"],
)
def test_a_result_beyond_every_number_is_refused_in_words(setting: Setting, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(setting, text, 3)
    assert caught.value.field == setting.name
    assert setting.allowed in str(caught.value) and len(caught.value.what) < 200


def test_a_result_next_to_nothing_is_zero() -> None:
    assert resolve(FREE, "x1e-999999999", 3.0) == 0.0
    assert resolve(FREE, "+1e-999999999", 3.0) == 3.0
    with pytest.raises(InvalidInput, match="makes 0"):
        resolve(MAX_STEPS, "x1e-999999999", 3)


def test_the_relative_ones_are_named() -> None:
    values = {"lr": "x2", "max_steps": "300", "other": "x2"}
    assert relative_values.relative_names(values, {"lr": LR, "max_steps": MAX_STEPS}) == ["lr"]
    assert relative_values.may_be_relative({"lr": "+1"})
    assert not relative_values.may_be_relative({"lr": "1", "wd": 3})


def test_more_updates_are_counted_from_the_step_of_the_node() -> None:
    settings, current = {"max_steps": MAX_STEPS, "lr": LR}, {"max_steps": 300, "lr": 0.5}

    def at_100(**values: str) -> dict[str, Any]:
        return relative_values.resolved(values, settings, current, 100)

    assert at_100(max_steps="+50", lr="+1") == {"max_steps": 150, "lr": 1.5}
    assert at_100(max_steps="-50") == {"max_steps": 250}
    assert at_100(max_steps="x2") == {"max_steps": 600}
    stop = relative_values.resolved({"stop_at": "+50"}, {"stop_at": STOP_AT}, {}, 100)
    assert stop == {"stop_at": 150}
    assert relative_values.counts_from_step("max_steps", "+50")
    assert relative_values.counts_from_step("stop_at", "+50")
    assert not relative_values.counts_from_step("max_steps", "+-50")
    assert not relative_values.counts_from_step("warmup_steps", "+50")
    assert not relative_values.counts_from_step("max_steps", 50)

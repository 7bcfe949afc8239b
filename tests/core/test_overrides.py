"""What a resume may ask for, beyond each setting's own bounds."""

from __future__ import annotations

import pytest

from branchtrack.core.builtin_settings import SETTINGS
from branchtrack.core.overrides import (
    check_frozen,
    check_length,
    check_reshuffle,
    check_stop,
    freezes_all,
    offered,
)
from branchtrack.errors import InvalidInput

LINEAR = {"max_steps": 10, "lr_scheduler_type": "linear"}
TENSORS = ["model/a.weight", "model/a.bias", "model/b.weight", "optimizer/0/exp_avg"]


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"max_steps": 4, "horizon": "extend"}, "max_steps"),
        ({"max_steps": 20}, "horizon"),
        ({"horizon": "extend"}, "horizon"),
        ({"max_steps": 10, "horizon": "rescale"}, "horizon"),
    ],
)
def test_a_length_that_does_not_fit_is_refused(overrides: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_length(4, LINEAR, overrides)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"max_steps": 10},
        {"max_steps": 20, "horizon": "extend"},
        {"max_steps": 20, "lr_scheduler_type": "constant"},
    ],
)
def test_a_length_that_fits_is_let_through(overrides: dict[str, object]) -> None:
    check_length(4, LINEAR, overrides)


def test_a_loop_whose_script_makes_its_schedule_has_no_horizon() -> None:
    settings = {"max_steps": 10, "scheduler": "node"}
    check_length(4, settings, {"max_steps": 20})
    with pytest.raises(InvalidInput) as caught:
        check_length(4, settings, {"max_steps": 4})
    assert caught.value.field == "max_steps"


def test_a_node_of_an_older_database_has_no_length_to_change() -> None:
    check_length(4, {"lr": 0.1}, {"lr": 0.2})


@pytest.mark.parametrize("patterns", ["a", "a.*", "*.bias", "a.weight, b", ""])
def test_patterns_that_name_parts_of_the_model_are_let_through(patterns: str) -> None:
    check_frozen(patterns, TENSORS)


@pytest.mark.parametrize("patterns", ["c", "a, c", "*", "a, b", "exp_avg"])
def test_patterns_that_match_nothing_or_everything_are_refused(patterns: str) -> None:
    with pytest.raises(InvalidInput):
        check_frozen(patterns, TENSORS)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"schedule_from": "hold", "max_steps": 20, "horizon": "extend"}, "horizon"),
        ({"warmup_steps": 10}, "warmup_steps"),
        ({"schedule_from": "restart", "warmup_steps": 6}, "warmup_steps"),
    ],
)
def test_where_a_schedule_begins_fits_the_rest(overrides: dict[str, object], field: str) -> None:
    settings = {**LINEAR, "max_steps": 10, "warmup_steps": 2}
    with pytest.raises(InvalidInput) as caught:
        check_length(4, settings, overrides)
    assert caught.value.field == field
    check_length(4, settings, {"schedule_from": "restart", "max_steps": 20})
    check_length(4, settings, {"schedule_from": "hold", "lr_scheduler_type": "constant"})


def test_patterns_that_freeze_every_parameter_are_noticed() -> None:
    names = ["body.weight", "body.bias", "head.weight"]
    for every in ("*", "body,head", "body.*, head.weight"):
        assert freezes_all(every, names)
    for some_only in ("", "body", "head, body.bias", "other"):
        assert not freezes_all(some_only, names)
    assert not freezes_all("*", [])


@pytest.mark.parametrize(
    ("overrides", "allowed"),
    [
        ({"stop_at": 4}, "a whole number greater than 4, up to 10"),
        ({"stop_at": 11}, "a whole number greater than 4, up to 10"),
        ({"stop_at": 21, "max_steps": 20}, "a whole number greater than 4, up to 20"),
    ],
)
def test_a_stop_outside_of_the_training_is_refused(
    overrides: dict[str, object], allowed: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_stop(4, LINEAR, overrides)
    assert (caught.value.field, caught.value.allowed) == ("stop_at", allowed)


def test_a_stop_within_the_training_is_let_through() -> None:
    for settings, overrides in (
        (LINEAR, {"stop_at": 5}),
        (LINEAR, {"stop_at": 10}),
        (LINEAR, {"stop_at": 12, "max_steps": 20}),
        ({}, {"stop_at": 10**6}),
        (LINEAR, {}),
    ):
        check_stop(4, settings, overrides)
    check_stop(4, LINEAR, {"stop_at": 99}, "weights")
    with pytest.raises(InvalidInput, match=r"greater than 4\."):
        check_stop(4, {}, {"stop_at": 4})


def test_an_epoch_is_redrawn_from_a_seed_alone() -> None:
    check_reshuffle({"reshuffle": True, "seed": 3})
    check_reshuffle({"reshuffle": False})
    with pytest.raises(InvalidInput, match="reshuffle together with seed") as caught:
        check_reshuffle({"reshuffle": True, "lr": 0.1})
    assert caught.value.field == "reshuffle"


def test_a_resume_may_stop_early_and_redraw_where_there_is_a_seed() -> None:
    declared = {name: SETTINGS[name] for name in ("lr", "seed")}
    assert {"stop_at", "reshuffle"} <= offered(declared, {"lr": 0.1, "seed": 1}).keys()
    without_seed = offered(declared, {"lr": 0.1})
    assert "stop_at" in without_seed and "reshuffle" not in without_seed
    assert offered(declared, {}) == {}

"""Schedules by name: their arguments as texts, and what is refused before anything starts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from branchtrack.core import schedules
from branchtrack.core.builtin_settings import LR_SCHEDULER_KWARGS
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("num_cycles=3", {"num_cycles": 3}),
        (" power = 2.0 , lr_end=1e-7 ", {"power": 2.0, "lr_end": 1e-7}),
        ("smooth=true, mode=max", {"smooth": True, "mode": "max"}),
        ('{"min_lr": [1e-4, 1e-5]}', {"min_lr": [1e-4, 1e-5]}),
        ("decay_type=1-sqrt, timescale=null", {"decay_type": "1-sqrt", "timescale": None}),
        ({"num_cycles": 3}, {"num_cycles": 3}),
    ],
)
def test_arguments_are_read_from_pairs_and_from_json(text: Any, found: dict[str, Any]) -> None:
    assert schedules.read(text) == found
    assert schedules.read(schedules.write(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "num_cycles",
        "=3",
        "a=",
        "a=1, a=2",
        "a=nan",
        "a=inf",
        "{",
        "[1]",
        '{"a": {"b": 1}}',
        3,
        None,
    ],
)
def test_what_are_no_arguments_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput, match="name=value"):
        LR_SCHEDULER_KWARGS.validate(text)


def test_one_choice_of_arguments_has_one_text() -> None:
    texts = ("power=2.0,lr_end=1e-07", '{"lr_end": 1e-7, "power": 2.0}')
    assert {LR_SCHEDULER_KWARGS.validate(text) for text in texts} == {"lr_end=1e-07, power=2.0"}
    assert schedules.write(None) == ""


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        ("cosine", "cycles=3", "num_cycles"),
        ("linear", "num_cycles=3", "none"),
        ("cosine_with_min_lr", "", "min_lr"),
        ("cosine_with_min_lr", "min_lr=1e-5, min_lr_rate=0.1", "exactly one"),
        ("warmup_stable_decay", "min_lr_ratio=0.1", "num_decay_steps"),
        ("warmup_stable_decay", "num_decay_steps=4, decay_type=steep", "1-sqrt"),
        ("warmup_stable_decay", "num_decay_steps=2.5", "whole number"),
        ("polynomial", "power=much", "finite number"),
        ("greedy", "smooth=1", "true or false"),
    ],
)
def test_arguments_that_a_schedule_cannot_take_are_refused(
    kind: str, text: str, allowed: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        schedules.check(kind, text)
    assert caught.value.field == "lr_scheduler_kwargs" and allowed in caught.value.fix


def test_every_schedule_of_transformers_is_known_with_its_arguments() -> None:
    transformers = pytest.importorskip("transformers")
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

    given = {
        "optimizer",
        "num_warmup_steps",
        "num_training_steps",
        "last_epoch",
        "kwargs",
        "self",
    }
    classes = {"reduce_lr_on_plateau": ReduceLROnPlateau.__init__, "greedy": GreedyLR.__init__}
    assert {kind.value for kind in transformers.SchedulerType} == schedules.ARGUMENTS.keys()
    for kind, make in TYPE_TO_SCHEDULER_FUNCTION.items():
        takes = inspect.signature(classes.get(kind.value, make)).parameters.keys() - given
        assert takes == set(schedules.ARGUMENTS[kind.value]), kind


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"steps": 40, "path": []}, "made for 40 updates"),
        (
            {"steps": 24, "path": [[5, 5], [40, 24]]},
            "made for 24 updates, its 5 to 24 spread over updates 5 to 40",
        ),
        (
            {"steps": 24, "lr": 0.01, "path": [[5, 5], [20, 13.5], [60, 24]]},
            "made for 24 updates, for a base rate of 0.01, "
            "its 5 to 13.5 spread over updates 5 to 20, "
            "its 13.5 to 24 spread over updates 20 to 60",
        ),
    ],
)
def test_a_schedule_for_another_length_is_told_in_words(recipe: Any, words: str) -> None:
    assert schedules.is_recipe(recipe) and schedules.recipe_words(recipe) == words
    assert not schedules.is_recipe({"$": "tuple", "items": []}) and not schedules.is_recipe(3)

"""Lists of values and grids stand for one branch each."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.builtin_settings import SETTINGS
from branchtrack.core.forks import value_lists
from branchtrack.errors import InvalidInput


def listed(settings: dict[str, Any], grid: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    combinations = value_lists.combinations(settings, grid or {}, SETTINGS)
    return [combination.settings for combination in combinations]


def test_a_list_is_one_branch_for_each_value() -> None:
    assert listed({"lr": "1e-4, 3e-4", "weight_decay": "0.1"}) == [
        {"lr": "1e-4", "weight_decay": "0.1"},
        {"lr": "3e-4", "weight_decay": "0.1"},
    ]
    assert listed({"lr": [1e-4, "x2"]}) == [{"lr": 1e-4}, {"lr": "x2"}]


def test_a_grid_is_every_combination_and_its_last_setting_varies_fastest() -> None:
    grid = {"lr": ["1", "2"], "weight_decay": ["0", "0.1"]}
    pairs = [("1", "0"), ("1", "0.1"), ("2", "0"), ("2", "0.1")]
    assert [tuple(each.values())[1:] for each in listed({"seed": "3"}, grid)] == pairs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("betas", "0.9, 0.95"),
        ("betas", [0.9, 0.95]),
        ("frozen", "encoder,head"),
        ("lr_scheduler_kwargs", "min_lr_rate=0.1, num_cycles=2"),
        ("accept", "dataset_length,model"),
    ],
)
def test_a_comma_that_belongs_to_the_value_makes_no_list(name: str, value: Any) -> None:
    assert listed({name: value}) == [{name: value}]


def test_such_settings_have_one_value_for_each_time_they_are_named_in_a_grid() -> None:
    pairs = [("frozen", "a,b"), ("frozen", "c"), ("lr", "1,2")]
    grid = value_lists.grid_values(pairs, SETTINGS)
    assert grid == {"frozen": ["a,b", "c"], "lr": ["1", "2"]}
    assert value_lists.listed(SETTINGS["betas"], [[0.9, 0.95], [0.9, 0.99]]) == [
        [0.9, 0.95],
        [0.9, 0.99],
    ]


@pytest.mark.parametrize(
    ("settings", "grid", "field"),
    [
        ({"lr": "1e-3,2e-3", "weight_decay": "0,0.1"}, {}, "weight_decay"),
        ({"lr": "1e-3,1e-3"}, {}, "lr"),
        ({"lr": "1e-3,"}, {}, "lr"),
        ({"lr": "1,5"}, {}, "lr"),
        ({"lr": "1"}, {"lr": ["2"]}, "lr"),
        ({}, {"lr": []}, "lr"),
        ({}, {"seed": [str(number) for number in range(65)]}, "settings"),
        ({}, {"lr": list("123456789"), "seed": list("12345678")}, "settings"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    settings: dict[str, Any], grid: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        listed(settings, grid)
    assert caught.value.field == field


def test_too_many_are_refused_with_their_number() -> None:
    with pytest.raises(InvalidInput, match="72 branches"):
        listed({}, {"lr": list("123456789"), "seed": list("12345678")})
    value_lists.check_count(value_lists.MOST_BRANCHES)


def test_branches_are_named_after_what_varies() -> None:
    (first, second) = value_lists.combinations({"lr": "1e-4,x2", "seed": "3"}, {}, SETTINGS)
    assert (first.words, second.words) == ("lr-1e-4", "lr-x2")
    labels = [["lr-1e-4"], ["lr-1e-4"], ["a/b c"]]
    names = value_lists.branch_names("cool", labels, {"cool-lr-1e-4"})
    assert names == ["cool-lr-1e-4-2", "cool-lr-1e-4-3", "cool-a-b-c"]
    assert value_lists.branch_names("", [["x" * 90]], ())[0] == "x" * 70

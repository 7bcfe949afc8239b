"""`--set` and `--grid` take as many NAME=VALUE as follow them."""

from __future__ import annotations

import pytest

from branchtrack.cli import setting_arguments
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("3fa9 --set a=1 b=2", "3fa9 --set a=1 --set b=2"),
        ("--set a=1 b=-2 3fa9 --json", "--set a=1 --set b=-2 3fa9 --json"),
        ("--set=a=1 b=2", "--set=a=1 --set b=2"),
        ("--grid a=1,2 b=3,4 --set c=5 d=6", "--grid a=1,2 --grid b=3,4 --set c=5 --set d=6"),
        ("--set a=1 --name b=2", "--set a=1 --name b=2"),
        ("--set a=1 --env X=1 b=2", "--set a=1 --env X=1 b=2"),
        ("--set a=1 -- b=2", "--set a=1 -- b=2"),
        ("--set 3fa9", "--set 3fa9"),
        ("--set", "--set"),
        ("a=1", "a=1"),
    ],
)
def test_the_option_is_repeated_for_what_follows_it(typed: str, spelled: str) -> None:
    assert setting_arguments.spread(typed.split()) == spelled.split()


@pytest.mark.parametrize(
    ("typed", "own", "jobs"),
    [
        ("3fa9 --on slurm -- -p main", "3fa9 --on slurm", "-p main"),
        ("3fa9 --on=gpu --set a=1 -- --x -- y", "3fa9 --on=gpu --set a=1", "--x -- y"),
        ("3fa9 --on slurm", "3fa9 --on slurm", ""),
        ("-- 3fa9", "-- 3fa9", ""),
        ("-- --on slurm -- x", "-- --on slurm -- x", ""),
    ],
)
def test_with_a_cluster_the_words_after_the_dashes_are_its_jobs(
    typed: str, own: str, jobs: str
) -> None:
    assert setting_arguments.split(typed.split()) == (own.split(), jobs.split())


def test_a_value_may_have_anything_in_it() -> None:
    arguments = ["--set", "a=1", "b=x y\nz", 'lr_scheduler_kwargs={"a": 1}']
    assert setting_arguments.spread(arguments).count("--set") == 3


def test_the_lists_of_a_grid_are_gathered_by_name() -> None:
    pairs = setting_arguments.grid_pairs(["lr=1,2", "frozen=a,b", "frozen=c"])
    assert pairs == {"lr": ["1,2"], "frozen": ["a,b", "c"]}
    for bad in ("lr", "=1", "lr="):
        with pytest.raises(InvalidInput) as caught:
            setting_arguments.grid_pairs([bad])
        assert caught.value.field == "grid"

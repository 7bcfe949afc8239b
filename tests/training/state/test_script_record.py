"""Two scripts are compared name by name; what was declared or accepted is no difference."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.loop.script import LoopComparison
from branchtrack.training.state.mismatch import ACCEPTED
from branchtrack.training.state.script_record import (
    ScriptComparison,
    author_settings,
    require_same_script,
)
from branchtrack.training.trainer.script import TrainerComparison

KINDS = pytest.mark.parametrize("kind", [LoopComparison, TrainerComparison])
Kind = type[ScriptComparison]


class Values(dict[str, Any]):
    """An author's settings, which can be looked at without being used."""

    def peek(self, name: str) -> Any:
        return self[name]


def compare(
    kind: Kind,
    current: dict[str, Any],
    recorded: dict[str, Any],
    settings: dict[str, Any] | None = None,
    declared: dict[str, Any] | None = None,
) -> ScriptComparison:
    return kind(current, recorded, settings or {}, declared or {})


def names(comparison: ScriptComparison, *accepted: str) -> list[str]:
    return [difference.name for difference in comparison.differences(accepted)]


def test_an_authors_settings_have_a_prefix() -> None:
    assert author_settings(Values(alpha=0.5)) == {"settings.alpha": 0.5}


@KINDS
def test_equal_scripts_are_the_same(kind: Kind) -> None:
    record = {"lr": 0.1, "betas": (0.9, 0.99), "gap": float("nan")}
    comparison = compare(kind, record, {**record, "betas": [0.9, 0.99]})
    require_same_script(comparison)
    assert names(comparison) == []


@KINDS
def test_another_value_is_refused_with_the_option_that_declares_it(kind: Kind) -> None:
    comparison = compare(kind, {"eps": 1e-6}, {"eps": 1e-8}, {"eps": 1e-7})
    with pytest.raises(CheckpointMismatch) as caught:
        require_same_script(comparison)
    assert "--set eps=1e-06" in caught.value.fix
    assert "in force in it: eps = 1e-07" in caught.value.what


@KINDS
def test_what_was_declared_or_is_in_the_node_is_no_difference(kind: Kind) -> None:
    records = {"eps": 1e-6}, {"eps": 1e-8}
    assert names(compare(kind, *records, {"eps": 1e-7})) == ["eps"]
    assert names(compare(kind, *records, {"eps": 1e-7}, {"eps": 1e-5})) == []
    assert names(compare(kind, *records, {"eps": 1e-6})) == []


@KINDS
def test_what_nothing_in_the_node_replaces_may_be_accepted(kind: Kind) -> None:
    comparison = compare(kind, {"settings.alpha": 2}, {"settings.alpha": 1})
    (difference,) = comparison.differences()
    assert difference.option == ACCEPTED
    assert names(comparison, "settings.alpha") == []


@KINDS
def test_what_the_node_restores_cannot_be_accepted(kind: Kind) -> None:
    comparison = compare(kind, {"optimizer": "SGD"}, {"optimizer": "AdamW"})
    assert names(comparison, "optimizer") == ["optimizer"]
    assert comparison.differences()[0].option == ""


def test_a_loop_lists_classes_first_and_may_bring_its_own_schedule() -> None:
    current, recorded = {"lr": 1.0, "optimizer": "SGD"}, {"lr": 2.0, "optimizer": "AdamW"}
    assert names(compare(LoopComparison, current, recorded)) == ["optimizer", "lr"]
    records = {"scheduler.gamma": 0.5}, {"scheduler.gamma": 0.9}
    (difference,) = compare(LoopComparison, *records, {"scheduler": "node"}).differences()
    assert (difference.option, difference.in_force) == ("--set scheduler=script", "")
    assert names(compare(LoopComparison, *records, {}, {"scheduler": "script"})) == []


def test_secrets_of_a_trainer_are_not_compared() -> None:
    assert names(compare(TrainerComparison, {"api_key": "a"}, {"api_key": "b"})) == []

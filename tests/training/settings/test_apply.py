"""A setting is written where the maths reads it, and read back from there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import Adafactor

from branchtrack.training.settings import apply
from branchtrack.training.settings.apply import Live
from tests.training.settings.two_groups import two_groups


def test_only_settings_that_the_objects_have_are_declared() -> None:
    live = two_groups()
    names = ["lr", "weight_decay", "max_grad_norm", "betas", "eps", "group0.lr", "group1.lr"]
    names.append("frozen")
    assert [s.name for s in apply.declare(live)] == names
    live.optimizer = torch.optim.LBFGS(live.model.parameters(), lr=0.5)
    settings = apply.read_all(live)
    assert {"lr", "max_grad_norm", "frozen", "max_iter"} < settings.keys()
    assert not {"history_size", "weight_decay", "eps"} & settings.keys()
    live.optimizer = Adafactor(live.model.parameters(), lr=None)
    assert apply.read_all(live) == {
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "frozen": "",
        "eps": [1e-30, 1e-3],
        "clip_threshold": 1.0,
        "decay_rate": -0.8,
    }
    assert apply.used(live)["lr_now"] is None


def used_after(live: Live, meanwhile: Callable[[], object]) -> bool:
    """Whether the change of all settings is seen after ``meanwhile`` has happened."""
    targets = {"lr": 0.01, "weight_decay": 0.1, "max_grad_norm": 2.0}
    apply.write_all(live, targets)
    expected = apply.read_groups(live)
    for parameter in live.model.parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    meanwhile()
    return apply.agrees(targets, expected, apply.used(live))


def test_what_was_written_is_found_by_the_next_update() -> None:
    assert used_after(two_groups(), lambda: None)


@pytest.mark.parametrize("group", [0, 1])
def test_a_rate_overwritten_in_any_group_is_noticed(group: int) -> None:
    live = two_groups()
    assert not used_after(live, lambda: live.groups[group].update(lr=0.5))


def test_other_overwritten_settings_are_noticed() -> None:
    live = two_groups()
    assert not used_after(live, lambda: live.groups[0].update(weight_decay=0.4))
    assert not used_after(live, lambda: setattr(live.options, "max_grad_norm", 9.0))


def test_gradients_over_the_limit_are_noticed() -> None:
    live = two_groups()

    def unclipped() -> None:
        for parameter in live.model.parameters():
            parameter.grad = torch.ones_like(parameter)

    assert not used_after(live, unclipped)


def test_the_norm_is_that_of_all_gradients() -> None:
    live = two_groups()
    assert apply.used(live)["grad_norm"] == 0.0
    for parameter in live.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert apply.used(live)["grad_norm"] == pytest.approx(4.0)

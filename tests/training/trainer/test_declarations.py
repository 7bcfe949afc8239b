"""A script declares values, objects and actions before its training, and nothing after it began."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.trainer.declarations import Declarations


class Declaring(Declarations):
    """What a Trainer has of it, without a Trainer."""

    def __init__(self, **attributes: Any) -> None:
        self._bt_session = None
        vars(self).update(attributes)
        self._bt_begin_declarations()


def test_a_declared_value_is_read_as_a_setting() -> None:
    trainer = Declaring()
    trainer.declare(temperature=0.5)
    assert trainer.settings["temperature"] == 0.5


def test_a_class_with_settings_of_its_own_keeps_them() -> None:
    trainer = Declaring(settings={"mine": 1})
    with pytest.raises(InvalidInput, match="attribute `settings`"):
        trainer.declare(temperature=0.5)
    assert trainer.settings == {"mine": 1}


def test_only_what_has_a_state_can_be_tracked() -> None:
    trainer, teacher = Declaring(), torch.nn.Linear(2, 2)
    trainer.track(teacher=teacher, weights=torch.ones(2))
    assert trainer._bt_tracked.keys() == {"teacher", "weights"}
    with pytest.raises(InvalidInput, match="state_dict"):
        trainer.track(name="text")


def test_an_action_has_typed_parameters() -> None:
    trainer = Declaring()

    def shake(amount: float) -> None:
        del amount

    trainer.add_action("shake", shake)
    assert trainer._bt_actions == {"shake": shake}
    with pytest.raises(InvalidInput):
        trainer.add_action("broken", lambda amount: None)


def test_nothing_is_declared_once_training_has_begun() -> None:
    trainer = Declaring()
    trainer._bt_session = object()
    for declare in (trainer.declare, trainer.track):
        with pytest.raises(InvalidInput, match="before train"):
            declare(late=torch.ones(1))

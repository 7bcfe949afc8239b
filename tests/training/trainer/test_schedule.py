"""A Trainer's schedule is read and changed only while it is the one that the Trainer made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch.optim.lr_scheduler import OneCycleLR
from transformers.optimization import get_scheduler

from branchtrack.core.builtin_settings import RECIPE
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.live import Live
from branchtrack.training.trainer import schedule
from branchtrack.training.trainer.schedule_recipe import follow
from tests.training.settings.two_groups import rates, two_groups


class FakeTrainer:
    """What `schedule` uses of a Trainer at step 4 of 20, with a linear schedule."""

    def __init__(self, kind: str = "linear") -> None:
        self.live: Live = two_groups()
        self.args: Any = SimpleNamespace(
            lr_scheduler_type=kind,
            lr_scheduler_kwargs=None,
            learning_rate=0.1,
            max_steps=20,
            get_warmup_steps=lambda _: self.args.warmup_steps,
            warmup_steps=0,
            eval_strategy="no",
        )
        self.state = SimpleNamespace(global_step=0, max_steps=20)
        self.callback_handler = SimpleNamespace(lr_scheduler=None)
        self.lr_scheduler: Any = None
        self._created_lr_scheduler = True
        self._bt_schedule: Any = None
        self._bt_made: Any = None
        self._bt_bounds: Any = object()
        self._bt_script = {"eval_strategy": "no"}
        self._bt_make_scheduler(20)
        self.live.scheduler = self.lr_scheduler
        schedule.note(self)
        for _ in range(4):
            self.live.optimizer.step()
            self.lr_scheduler.step()
        self.state.global_step = 4

    def _bt_make_scheduler(self, steps: int) -> None:
        recipe = self._bt_schedule or {"steps": steps, "path": []}
        self.lr_scheduler = get_scheduler(
            self.args.lr_scheduler_type,
            self.live.optimizer,
            self.args.warmup_steps,
            recipe["steps"],
        )
        follow(self.lr_scheduler, recipe)


@pytest.fixture
def trainer() -> Any:
    """A Trainer in the middle of its schedule."""
    return FakeTrainer()


def write(trainer: Any, **values: Any) -> None:
    schedule.write(trainer, trainer.live, values)


def test_a_schedule_of_the_trainers_own_is_read_and_can_be_changed(trainer: Any) -> None:
    assert schedule.read(trainer, "lr_scheduler_type") == "linear"
    names = {setting.name for setting in schedule.declare(trainer)}
    assert {"lr_scheduler_type", "warmup_steps", "schedule_from", "horizon"} <= names
    trainer._bt_bounds = None
    assert "horizon" not in {setting.name for setting in schedule.declare(trainer)}


def test_a_schedule_that_the_script_put_in_its_place_is_left_alone(trainer: Any) -> None:
    trainer.lr_scheduler = OneCycleLR(trainer.live.optimizer, 0.1, total_steps=9)
    assert schedule.made_of(trainer) is None and schedule.declare(trainer) == []
    assert schedule.read(trainer, "lr_scheduler_type") is None
    assert schedule.implied(trainer, {"lr_scheduler_type": "cosine"}) == {}
    trainer._created_lr_scheduler = False
    schedule.note(trainer)
    assert schedule.made_of(trainer) is None


def test_another_shape_goes_on_from_the_present_step(trainer: Any) -> None:
    write(trainer, lr_scheduler_type="constant")
    assert rates(trainer.live) == [0.1, 0.025]
    assert trainer.live.scheduler is trainer.lr_scheduler
    assert trainer.callback_handler.lr_scheduler is trainer.lr_scheduler
    assert trainer.lr_scheduler.last_epoch == 4 and RECIPE not in trainer.live.fixed


def test_a_later_end_rescales_or_extends_the_shape(trainer: Any) -> None:
    write(trainer, max_steps=40, horizon="rescale")
    assert trainer.state.max_steps == 40
    assert rates(trainer.live)[0] == pytest.approx(0.1 * 36 / 40)
    other: Any = FakeTrainer()
    write(other, max_steps=40, horizon="extend")
    assert rates(other.live)[0] == pytest.approx(0.1 * 16 / 20)
    assert other.live.fixed[RECIPE] == {"steps": 20, "path": [[4, 4], [40, 20]]}


def test_a_schedule_that_restarts_begins_at_its_peak(trainer: Any) -> None:
    write(trainer, schedule_from="restart", lr_scheduler_type="linear")
    assert rates(trainer.live) == [0.1, 0.025]
    assert trainer._bt_schedule == {"steps": 16, "path": [[4, 0]]}


def test_what_does_not_concern_the_schedule_makes_no_other(trainer: Any) -> None:
    before = trainer.lr_scheduler
    write(trainer, logging_steps=7)
    assert trainer.lr_scheduler is before


def test_an_end_that_comes_too_late_is_refused(trainer: Any) -> None:
    trainer.state.global_step = 20
    with pytest.raises(InvalidInput, match="too late"):
        write(trainer, max_steps=40, horizon="rescale")


def test_arguments_of_the_last_shape_are_dropped_with_it(trainer: Any) -> None:
    trainer._bt_made.settings["lr_scheduler_kwargs"] = '{"num_cycles": 2}'
    implied = schedule.implied(trainer, {"lr_scheduler_type": "constant"})
    assert implied == {"lr_scheduler_kwargs": ""}
    assert schedule.implied(trainer, {"schedule_from": "hold"})["lr_scheduler_type"] == "linear"

"""A held schedule keeps its rate and goes on counting, and is the same once it is released."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.errors import InvalidInput
from branchtrack.training.settings import apply, schedule_hold
from branchtrack.training.settings.live import Live
from tests.training import loops
from tests.training.settings.two_groups import SCHEDULES, rates, run, two_groups


def test_what_ends_or_follows_a_loss_is_not_held() -> None:
    optimizer = loops.sgd(loops.net())
    assert not schedule_hold.can_hold(schedulers.OneCycleLR(optimizer, 0.1, total_steps=9))
    assert not schedule_hold.can_hold(schedulers.ReduceLROnPlateau(optimizer))
    assert not schedule_hold.can_hold(None)


def test_a_held_schedule_is_put_back_where_another_change_fails() -> None:
    model = loops.net()
    optimizer = loops.sgd(model)
    schedule = schedulers.StepLR(optimizer, 1)
    live = Live(model, optimizer, schedule, None, [True])
    with pytest.raises(InvalidInput, match="nesterov"):
        apply.write_all(live, {"schedule_held": True, "nesterov": True, "dampening": 0.5})
    assert type(schedule) is schedulers.StepLR and not optimizer.param_groups[0]["nesterov"]
    assert "schedule_held" not in schedule.state_dict()
    apply.write_all(live, {"schedule_held": True})
    assert isinstance(schedule, schedulers.StepLR) and apply.read_all(live)["schedule_held"]
    assert torch.optim.lr_scheduler.StepLR.__name__ == type(schedule).__name__


def test_a_schedule_goes_on_counting_while_it_is_held() -> None:
    live = two_groups(SCHEDULES["lambda"])
    run(live, 6)
    held = rates(live)
    schedule_hold.write(live, True)
    assert run(live, 3) == [held] * 3 and schedule_hold.is_held(live.scheduler)
    schedule_hold.write(live, True)
    schedule_hold.write(live, False)
    untouched = two_groups(SCHEDULES["lambda"])
    run(untouched, 9)
    assert rates(live) == rates(untouched)
    assert type(live.scheduler) is type(untouched.scheduler)


def test_every_schedule_within_another_is_held_with_it() -> None:
    live = two_groups(SCHEDULES["sequential"])
    schedule_hold.write(live, True)
    assert all(map(schedule_hold.is_held, live.schedulers))
    held = rates(live)
    assert run(live, 8) == [held] * 8


def test_a_schedule_of_the_scripts_own_that_steps_by_itself_is_not_held() -> None:
    class Stepping(schedulers.LRScheduler):
        def get_lr(self) -> list[float | torch.Tensor]:
            return [group["lr"] for group in self.optimizer.param_groups]

        def step(self, epoch: int | None = None) -> None:
            self.last_epoch += 1

    class Plain(Stepping):
        step = schedulers.LRScheduler.step

    optimizer = two_groups().optimizer
    assert not schedule_hold.can_hold(Stepping(optimizer))
    assert schedule_hold.can_hold(Plain(optimizer))

"""The next rates of a schedule of the script's own are told without touching it."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.training.settings import lr_forecast
from tests.training.settings.two_groups import SCHEDULES, rates, two_groups


class Halving:
    """A schedule of a script's own, which keeps a rate of its own."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer, self.rate = optimizer, 0.8

    def step(self) -> None:
        self.rate /= 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate


def test_a_schedule_of_torch_is_not_forecast() -> None:
    assert lr_forecast.next_rates(two_groups(SCHEDULES["cosine"])) == {}
    assert lr_forecast.next_rates(two_groups()) == {}


def test_the_next_step_is_made_on_a_copy() -> None:
    live = two_groups(Halving)
    assert lr_forecast.next_rates(live) == lr_forecast.next_rates(live) == {"": [0.4, 0.4]}
    assert rates(live) == [0.1, 0.025] and live.scheduler.rate == 0.8


def test_tensors_in_groups_are_not_written_to() -> None:
    class Filling(schedulers.LRScheduler):
        def step(self, epoch: int | None = None) -> None:
            super().step(epoch)
            for group in self.optimizer.param_groups:
                group["betas"][0].fill_(0.5)

        def get_lr(self) -> list[float | torch.Tensor]:
            return [0.5 for _ in self.optimizer.param_groups]

    live = two_groups(capturable=False, foreach=False)
    for group in live.groups:
        group["lr"], group["betas"] = torch.tensor(0.1), (torch.tensor(0.75), 0.99)
    live.scheduler = Filling(live.optimizer)
    live.groups[0]["lr"].fill_(0.25)
    live.groups[0]["betas"][0].fill_(0.75)
    assert lr_forecast.next_rates(live) == {"": [0.5, 0.5]}
    assert rates(live)[0] == 0.25 and float(live.groups[0]["betas"][0]) == 0.75


def test_a_schedule_that_fails_or_has_a_model_is_not_forecast() -> None:
    class Failing(Halving):
        def step(self) -> None:
            raise RuntimeError

    class Watching(Halving):
        def __init__(self, optimizer: Any) -> None:
            super().__init__(optimizer)
            self.model = torch.nn.Linear(1, 1)

    assert lr_forecast.next_rates(two_groups(Failing)) == {}
    assert lr_forecast.next_rates(two_groups(Watching)) == {}


def test_one_foreign_schedule_within_another_is_enough() -> None:
    class Own(schedulers.LRScheduler):
        def get_lr(self) -> list[float | torch.Tensor]:
            return [0.5 for _ in self.optimizer.param_groups]

    live = two_groups(lambda o: schedulers.ChainedScheduler([Own(o)]))
    assert set(lr_forecast.next_rates(live)) == {""}

"""What a schedule would make of the rates next, computed without touching them."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch.optim import lr_scheduler

from branchtrack.training import foreseeing
from branchtrack.training.live import Live


class Doubling(lr_scheduler.LRScheduler):
    """A schedule that is not torch's own, and fills what the groups keep in tensors."""

    def step(self, epoch: int | None = None) -> None:
        super().step(epoch)
        for group in self.optimizer.param_groups:
            group["betas"][0].fill_(0.5)

    def get_lr(self) -> list[float | torch.Tensor]:
        return [2 * group["lr"] for group in self.optimizer.param_groups]


def test_rates_in_tensors_are_foreseen_without_being_written_to() -> None:
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.25))
    group = optimizer.param_groups[0]
    group["betas"] = (torch.tensor(0.75), 0.99)
    scheduler = Doubling(optimizer)
    group["lr"].fill_(0.25)
    group["betas"][0].fill_(0.75)
    live = Live(model, optimizer, scheduler, SimpleNamespace(), [True])
    assert foreseeing.next_rates(live) == {"": [0.5]}
    assert float(group["lr"]) == 0.25 and float(group["betas"][0]) == 0.75

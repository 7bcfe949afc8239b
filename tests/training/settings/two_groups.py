"""A model of two layers with a parameter group for each, and a schedule of every kind."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.optim import lr_scheduler as schedulers
from transformers.optimization import get_cosine_schedule_with_warmup

from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live

STEPS = 20


def two_groups(
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
    rates: tuple[float, ...] = (0.1, 0.025),
    **options: Any,
) -> Live:
    """A model of two layers, a group for each with its own rate; the second is not decayed."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    groups = [
        {"params": list(layer.parameters()), "lr": rate, "weight_decay": decay}
        for layer, rate, decay in zip(model, rates, (0.5, 0.0), strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, **options)
    return Live(
        model,
        optimizer,
        schedule(optimizer) if schedule else None,
        SimpleNamespace(max_grad_norm=1.0),
        [True, False],
    )


def rates(live: Live) -> list[float]:
    return [apply.number(group["lr"]) for group in live.groups]


def run(live: Live, steps: int) -> list[list[float]]:
    """The groups' rates at each of the next updates."""
    used = []
    for _ in range(steps):
        for parameter in live.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        used.append(rates(live))
        live.optimizer.step()
        if live.scheduler is not None:
            live.scheduler.step()
    return used


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "lambda": lambda o: get_cosine_schedule_with_warmup(o, 4, STEPS),
    "step": lambda o: schedulers.StepLR(o, 5, 0.5),
    "multi-step": lambda o: schedulers.MultiStepLR(o, [3, 11], 0.1),
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, STEPS),
    "warm restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 6),
    "linear": lambda o: schedulers.LinearLR(o, 0.1, total_iters=9),
    "exponential": lambda o: schedulers.ExponentialLR(o, 0.9),
    "polynomial": lambda o: schedulers.PolynomialLR(o, STEPS),
    "one cycle": lambda o: schedulers.OneCycleLR(o, [0.1, 0.025], total_steps=STEPS + 1),
    "cyclic": lambda o: schedulers.CyclicLR(
        o, [0.1, 0.025], [0.4, 0.1], step_size_up=4, cycle_momentum=False
    ),
    "sequential": lambda o: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.1, total_iters=5), schedulers.CosineAnnealingLR(o, 15)],
        milestones=[5],
    ),
    "chained": lambda o: schedulers.ChainedScheduler(
        [schedulers.LinearLR(o, 0.1, total_iters=5), schedulers.ExponentialLR(o, 0.9)]
    ),
}

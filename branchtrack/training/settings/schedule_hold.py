"""Held schedules of a script's own: the rate stays unchanged while they keep counting.

A held scheduler gets a class of the same name that returns the current rates. Its state is kept as
ever, and when released it continues at the step it has counted to. It knows no request.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from branchtrack.training.settings import schedule_length
from branchtrack.training.settings.live import Live, number, put, within


class Held:
    """Mixed in before a scheduler's class while it is held."""

    optimizer: Any

    def get_lr(self) -> list[Any]:
        """Return the current rates."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return [rate.clone() if isinstance(rate, torch.Tensor) else rate for rate in rates]


class _HeldClosed(Held):
    def _get_closed_form_lr(self) -> list[Any]:
        return self.get_lr()


def can_hold(scheduler: Any) -> bool:
    """Return whether a scheduler can be held and released: it computes rates and has no end."""
    parts = list(within(scheduler))
    # A schedule that ends would end the training if it is released after its end.
    return bool(parts) and schedule_length.reach(scheduler) is None and all(map(_asks, parts))


def is_held(scheduler: Any) -> bool:
    """Return whether a scheduler is held."""
    return isinstance(scheduler, Held)


def write(live: Live, held: bool) -> None:
    """Hold the scheduler of one optimizer, or release it."""
    if held == is_held(live.scheduler):
        return
    for scheduler in within(live.scheduler):
        scheduler.__class__ = _held(type(scheduler)) if held else type(scheduler).__bases__[1]
    if not held and isinstance(live.scheduler, LambdaLR):
        # It computes the rate of each step by itself; others start from the current one.
        scheduler = live.scheduler
        for group, base, shape in zip(
            live.groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            put(group, "lr", number(base) * shape(scheduler.last_epoch))
        scheduler._last_lr = [group["lr"] for group in live.groups]


def _asks(scheduler: Any) -> bool:
    kind = type(scheduler)
    of_torch = kind.__module__.startswith("torch.optim") or is_held(scheduler)
    is_one = isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau)
    return is_one and (of_torch or kind.step is LRScheduler.step)


def _held(kind: type[Any]) -> type[Any]:
    mixin = _HeldClosed if hasattr(kind, "_get_closed_form_lr") else Held
    return type(kind.__name__, (mixin, kind), {"__module__": kind.__module__})

"""What a schedule would make of the rates next, computed on a copy of it.

How torch's own schedules follow another base rate is known. Any other schedule may keep a rate of
its own and revert the change one update later: then the rates are what they would have been without
it. This module knows no request.
"""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import torch
from torch.optim import lr_scheduler

from branchtrack.training.settings.live import Live, number
from branchtrack.training.settings.shadow_step import copied

logger = logging.getLogger("branchtrack")


def next_rates(live: Live) -> dict[str, list[float]]:
    """Return the rates of each group after the schedule's next step, by optimizer.

    Only for schedules that are not torch's own, and only where a copy can be stepped.
    """
    rates = {}
    for name, optimizer_objects in live.parts.items():
        if optimizer_objects.scheduler is None or all(
            _is_known(scheduler) for scheduler in optimizer_objects.schedulers
        ):
            continue
        try:
            rates[name] = _stepped(optimizer_objects)
        except Exception:
            logger.debug("branchtrack cannot forecast the rates of a schedule", exc_info=True)
    return rates


def _is_known(scheduler: Any) -> bool:
    return type(scheduler).__module__ == lr_scheduler.__name__


def _stepped(optimizer_objects: Live) -> list[float]:
    optimizer = getattr(optimizer_objects.optimizer, "optimizer", optimizer_objects.optimizer)
    if any(
        isinstance(value, torch.nn.Module) for value in vars(optimizer_objects.scheduler).values()
    ):
        raise ValueError("a schedule that has a model is not copied")
    twin = object.__new__(type(optimizer))
    twin.__dict__.update({k: v for k, v in optimizer.__dict__.items() if k != "step"})
    twin.param_groups = [
        {**{k: copied(v) for k, v in group.items() if k != "params"}, "params": []}
        for group in optimizer.param_groups
    ]
    memo = {id(value): twin for value in (optimizer_objects.optimizer, optimizer)}
    with warnings.catch_warnings(action="ignore"):
        copy.deepcopy(optimizer_objects.scheduler, memo).step()
    return [number(group["lr"]) for group in twin.param_groups]

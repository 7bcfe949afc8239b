"""What a schedule would make of the rates next, found on a copy of it.

Of torch's own schedules it is known how they follow another base rate. One of somebody else's may
keep a rate of its own and take the change back one update later: then the rates are what they would
have been without it. It knows no request.
"""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import torch
from torch.optim import lr_scheduler

from branchtrack.training.live import Live, number
from branchtrack.training.probing import copied

logger = logging.getLogger("branchtrack")


def next_rates(live: Live) -> dict[str, list[float]]:
    """The rates of each group after the schedule's next step, by optimizer.

    Of schedules that are not torch's own, alone, and only where a copy can be stepped.
    """
    found = {}
    for name, part in live.parts.items():
        if part.scheduler is None or all(_is_known(one) for one in part.schedulers):
            continue
        try:
            found[name] = _stepped(part)
        except Exception:
            logger.debug("branchtrack cannot foresee the rates of a schedule", exc_info=True)
    return found


def _is_known(scheduler: Any) -> bool:
    return type(scheduler).__module__ == lr_scheduler.__name__


def _stepped(part: Live) -> list[float]:
    optimizer = getattr(part.optimizer, "optimizer", part.optimizer)
    if any(isinstance(one, torch.nn.Module) for one in vars(part.scheduler).values()):
        raise ValueError("a schedule that has a model is not copied")
    twin = object.__new__(type(optimizer))
    twin.__dict__.update({k: v for k, v in optimizer.__dict__.items() if k != "step"})
    twin.param_groups = [
        {**{k: copied(v) for k, v in group.items() if k != "params"}, "params": []}
        for group in optimizer.param_groups
    ]
    known = {id(one): twin for one in (part.optimizer, optimizer)}
    with warnings.catch_warnings(action="ignore"):
        copy.deepcopy(part.scheduler, known).step()
    return [number(group["lr"]) for group in twin.param_groups]

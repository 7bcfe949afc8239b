"""Settings on live objects: one reader and one writer each, registered by name.

A writer changes the place that the maths reads; a reader reads that place. They know no request,
no database and no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from branchtrack.core.settings import BUILT_IN, Setting


@dataclass
class Live:
    """The objects of a loop. ``options`` bears ``max_grad_norm``, read at every clipping.

    ``decayed`` says for each parameter group whether it is meant to be decayed; ``fixed`` are
    settings that cannot be changed while the loop runs, for nodes to record.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    options: Any
    decayed: list[bool]
    fixed: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        return self.optimizer.param_groups


def number(value: Any) -> float:
    """A float, also where the optimizer keeps the value as a tensor."""
    return float(value.item()) if isinstance(value, torch.Tensor) else float(value)


def read_lr(live: Live) -> float:
    """The base (peak) learning rate: the largest of the groups'."""
    return max(number(group.get("initial_lr", group["lr"])) for group in live.groups)


def read_lr_now(live: Live) -> float:
    """The learning rate that the next update uses: the largest of the groups'."""
    return max(number(group["lr"]) for group in live.groups)


def write_lr(live: Live, value: float) -> None:
    """Set the base learning rate; ratios between groups are kept and the schedule goes on.

    The scheduler keeps its own copy of the bases (`base_lrs`), so all copies are set, and the
    rate of the next update is what the schedule makes of the new base.
    """
    old = read_lr(live)
    bases = []
    for group in live.groups:
        base = number(group.get("initial_lr", group["lr"]))
        new = value if base == old else base * (value / old)
        now = number(group["lr"])
        put(group, "lr", new if now == base else now * (new / base) if base else 0.0)
        if "initial_lr" in group:
            put(group, "initial_lr", new)
        bases.append(new)
    _rebase(live, bases)


def read_weight_decay(live: Live) -> float:
    """The weight decay of the groups that are decayed: the largest."""
    return max((number(group.get("weight_decay", 0.0)) for group in live.groups), default=0.0)


def write_weight_decay(live: Live, value: float) -> None:
    """Set the weight decay of the groups that are meant to be decayed; ratios are kept."""
    old = read_weight_decay(live)
    for group, decayed in zip(live.groups, live.decayed, strict=True):
        if not decayed:
            continue
        mine = number(group["weight_decay"])
        put(group, "weight_decay", value if mine == old or not old else mine * (value / old))


def read_max_grad_norm(live: Live) -> float:
    """The norm above which gradients are clipped; 0 is off."""
    return float(live.options.max_grad_norm or 0.0)


def write_max_grad_norm(live: Live, value: float) -> None:
    """Set the norm above which gradients are clipped."""
    live.options.max_grad_norm = value


READERS: dict[str, Callable[[Live], float]] = {
    "lr": read_lr,
    "weight_decay": read_weight_decay,
    "max_grad_norm": read_max_grad_norm,
}
WRITERS: dict[str, Callable[[Live, float], None]] = {
    "lr": write_lr,
    "weight_decay": write_weight_decay,
    "max_grad_norm": write_max_grad_norm,
}


def declare(live: Live) -> list[Setting]:
    """The built-in settings that these objects have."""
    has_decay = any("weight_decay" in group for group in live.groups)
    return [setting for setting in BUILT_IN if setting.name != "weight_decay" or has_decay]


def read_all(live: Live) -> dict[str, Any]:
    """Every setting's value, read from where it is used."""
    return {setting.name: READERS[setting.name](live) for setting in declare(live)}


def write_all(live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write settings and return what can be read back of them now."""
    for name, value in values.items():
        WRITERS[name](live, value)
    return {name: READERS[name](live) for name in values}


def used(live: Live) -> dict[str, Any]:
    """What the update about to be made uses; to be called between backward and the update.

    ``grad_norm`` is the norm of the gradients as the optimizer will see them.
    """
    return {
        **read_all(live),
        "lr_now": read_lr_now(live),
        "grad_norm": _grad_norm(live),
    }


def agrees(live: Live, wanted: Mapping[str, Any], lr_now: float, found: Mapping[str, Any]) -> bool:
    """Whether an update that used ``found`` obeyed ``wanted`` and the expected ``lr_now``."""
    if any(not _close(found.get(name), value) for name, value in wanted.items()):
        return False
    if "lr" in wanted and not _close(found["lr_now"], lr_now):
        return False
    limit = wanted.get("max_grad_norm", 0.0)
    return not limit or found["grad_norm"] <= limit * 1.01 + 1e-6


def put(group: dict[str, Any], name: str, value: float) -> None:
    """Set a group's value in place where the optimizer keeps a tensor."""
    if isinstance(group.get(name), torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def _rebase(live: Live, bases: list[float]) -> None:
    scheduler = live.scheduler
    if scheduler is None:
        return
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = list(bases)
    if isinstance(scheduler, LambdaLR):
        # The product that LambdaLR itself computes, so that a later step lands on the same bits.
        step = scheduler.last_epoch
        for group, base, shape in zip(live.groups, bases, scheduler.lr_lambdas, strict=True):
            put(group, "lr", base * shape(step))
    if hasattr(scheduler, "_last_lr"):
        scheduler._last_lr = [group["lr"] for group in live.groups]


def _grad_norm(live: Live) -> float:
    norms = [
        parameter.grad.detach().norm()
        for group in live.groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    return float(torch.stack([norm.float().cpu() for norm in norms]).norm()) if norms else 0.0


def _close(found: Any, wanted: Any) -> bool:
    return found is not None and abs(found - wanted) <= 1e-9 * max(abs(found), abs(wanted))

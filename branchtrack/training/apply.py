"""Settings on live objects: one reader and one writer each, registered by name.

A writer changes the place that the maths reads; a reader reads that place. They know no request,
no database and no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim.lr_scheduler import CyclicLR, LambdaLR

from branchtrack.core.settings import BUILT_IN, Setting

#: What torch keeps in a group that scales with its learning rate, and where its peak is found.
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")
_BASES = ("max_lr", "initial_lr", "lr")


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
    return max(_base(group) for group in live.groups)


def read_rates(live: Live) -> list[float | None]:
    """The learning rate that the next update uses in each group; None: the optimizer's own."""
    rates = [group.get("lr") for group in live.groups]
    return [None if rate is None else number(rate) for rate in rates]


def write_lr(live: Live, value: float) -> None:
    """Set the base learning rate; ratios between groups are kept and the schedule goes on.

    Schedulers keep copies of the bases, in the groups and in `base_lrs`, so all copies are set,
    and the rate of the next update is what the schedule makes of the new base.
    """
    old = read_lr(live)
    bases = [_base(group) for group in live.groups]
    news = [_scaled(base, old, value) for base in bases]
    for group, base, new in zip(live.groups, bases, news, strict=True):
        for name in _RATES:
            if group.get(name) is not None:
                put(group, name, _scaled(number(group[name]), base, new))
    if live.scheduler is not None:
        _rebase(live, live.scheduler, bases, news)
    if isinstance(live.scheduler, LambdaLR):
        # The product that LambdaLR itself computes, so that a later step lands on the same bits.
        step = live.scheduler.last_epoch
        shapes = zip(live.scheduler.base_lrs, live.scheduler.lr_lambdas, strict=True)
        for group, (rate, shape) in zip(live.groups, shapes, strict=True):
            put(group, "lr", number(rate) * shape(step))
        live.scheduler._last_lr = [group["lr"] for group in live.groups]


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
    lacking = set()
    if not all(group.get("lr") is not None for group in live.groups):
        lacking.add("lr")
    if not any("weight_decay" in group for group in live.groups):
        lacking.add("weight_decay")
    return [setting for setting in BUILT_IN if setting.name not in lacking]


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

    ``grad_norm`` is the norm of the gradients as the optimizer will see them; for the rest see
    `in_force`.
    """
    return {**in_force(live), "grad_norm": _grad_norm(live)}


def in_force(live: Live) -> dict[str, Any]:
    """Every setting and each group's learning rate (``rates``), the largest as ``lr_now``."""
    rates = read_rates(live)
    largest = max((rate for rate in rates if rate is not None), default=None)
    return {**read_all(live), "lr_now": largest, "rates": rates}


def agrees(
    wanted: Mapping[str, Any], rates: Sequence[float | None], found: Mapping[str, Any]
) -> bool:
    """Whether an update that used ``found`` obeyed ``wanted`` and the groups' expected rates."""
    if any(not _close(found.get(name), value) for name, value in wanted.items()):
        return False
    if "lr" in wanted and not all(map(_close, found["rates"], rates)):
        return False
    limit = wanted.get("max_grad_norm", 0.0)
    return not limit or found["grad_norm"] <= limit * 1.01 + 1e-6


def put(group: dict[str, Any], name: str, value: float) -> None:
    """Set a group's value in place where the optimizer keeps a tensor."""
    if isinstance(group.get(name), torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def _base(group: Mapping[str, Any]) -> float:
    """A group's peak rate: OneCycleLR starts well below it and keeps it as ``max_lr``."""
    return number(next(group[name] for name in _BASES if group.get(name) is not None))


def _scaled(rate: float, old: float, new: float) -> float:
    """``rate`` changed as ``old`` was to ``new``; exactly ``new`` where it was ``old``."""
    if rate == old:
        return new
    return rate * (new / old) if old else rate


def _rebase(live: Live, scheduler: Any, olds: list[float], news: list[float]) -> None:
    for part in getattr(scheduler, "_schedulers", ()):
        _rebase(live, part, olds, news)
    names = ["base_lrs", "max_lrs"] if isinstance(scheduler, CyclicLR) else ["base_lrs"]
    for name in names:
        if hasattr(scheduler, name):
            rates = zip(getattr(scheduler, name), olds, news, strict=True)
            setattr(scheduler, name, [_scaled(number(rate), old, new) for rate, old, new in rates])
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
    if isinstance(found, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(_close, found, wanted))
    if not isinstance(found, (int, float)) or not isinstance(wanted, (int, float)):
        return bool(found == wanted)
    return abs(found - wanted) <= 1e-9 * max(abs(found), abs(wanted))

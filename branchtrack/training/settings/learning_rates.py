"""Learning rates on live objects: the base of every group, wherever torch keeps copies of it.

Works on one optimizer and its scheduler; knows no request and no other setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import CyclicLR, LambdaLR

from branchtrack.training.settings.live import Live, number, put
from branchtrack.training.settings.schedule_hold import is_held

#: What torch keeps in a group that scales with its learning rate, and the keys of its peak.
_RATES = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
_BASES = ("max_lr", "swa_lr", "initial_lr", "lr")


def read_lr(live: Live) -> float:
    """Return the base (peak) learning rate: the largest of the groups'."""
    return max(_peaks(live))


def write_lr(live: Live, value: float) -> None:
    """Set the base learning rate; ratios between groups are kept and the schedule continues."""
    old = read_lr(live)
    _write(live, [_scaled(peak, old, value) for peak in _peaks(live)])


def read_group_lr(live: Live, index: int) -> float:
    """Return the base learning rate of one parameter group, counted from 0."""
    return _peaks(live)[index]


def write_group_lr(live: Live, index: int, value: float) -> None:
    """Set the base learning rate of one parameter group; its schedule continues."""
    news = _peaks(live)
    news[index] = value
    _write(live, news)


def _write(live: Live, news: list[float]) -> None:
    """Give each group another base.

    Schedulers keep copies of the bases, in the groups and in `base_lrs`, so all copies are set,
    and the rate of the next update is computed by the schedule from the new base.
    """
    bases = _peaks(live)
    for group, base, new in zip(live.groups, bases, news, strict=True):
        for name in _RATES:
            if group.get(name) is not None:
                put(group, name, _scaled(number(group[name]), base, new))
    if live.scheduler is not None:
        _rebase(live, live.scheduler, bases, news)
    if isinstance(live.scheduler, LambdaLR) and not is_held(live.scheduler):
        # The product that LambdaLR itself computes, so that a later step gives the same bits.
        step = live.scheduler.last_epoch
        shapes = zip(live.scheduler.base_lrs, live.scheduler.lr_lambdas, strict=True)
        for group, (rate, shape) in zip(live.groups, shapes, strict=True):
            put(group, "lr", number(rate) * shape(step))
        live.scheduler._last_lr = [group["lr"] for group in live.groups]


def _peaks(live: Live) -> list[float]:
    """Return the peak rate of each group; CyclicLR keeps its peaks in itself."""
    for scheduler in live.schedulers:
        if isinstance(scheduler, CyclicLR) and len(scheduler.max_lrs) == len(live.groups):
            return [number(rate) for rate in scheduler.max_lrs]
    return [base_rate(group) for group in live.groups]


def base_rate(group: Mapping[str, Any]) -> float:
    """Return a group's peak rate: OneCycleLR starts well below it and keeps it as ``max_lr``, SWALR
    anneals to ``swa_lr``.
    """
    return number(next(group[name] for name in _BASES if group.get(name) is not None))


def _scaled(rate: float, old: float, new: float) -> float:
    """Return ``rate`` scaled as ``old`` is to ``new``; exactly ``new`` where it equals ``old``."""
    if rate == old:
        return new
    return rate * (new / old) if old else rate


def _rebase(live: Live, scheduler: Any, olds: list[float], news: list[float]) -> None:
    for child in getattr(scheduler, "_schedulers", ()):
        _rebase(live, child, olds, news)
    names = ["base_lrs", "max_lrs"] if isinstance(scheduler, CyclicLR) else ["base_lrs"]
    for name in names:
        if hasattr(scheduler, name):
            rates = zip(getattr(scheduler, name), olds, news, strict=True)
            setattr(scheduler, name, [_scaled(number(rate), old, new) for rate, old, new in rates])
    if hasattr(scheduler, "_last_lr"):
        scheduler._last_lr = [group["lr"] for group in live.groups]

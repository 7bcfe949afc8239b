"""All that settings can touch on live objects, kept to be restored bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from branchtrack.training.settings.live import Live
from branchtrack.training.settings.registry import Registry

#: What schedulers keep of learning rates.
_LISTS = ("base_lrs", "max_lrs", "_last_lr", "max_momentums", "base_momentums")


def keep_state(live: Live, registry: Registry) -> Callable[[], None]:
    """Keep what settings can touch; calling the result restores it."""
    groups = [
        (group, {k: _copy(v) for k, v in group.items() if k != "params"}) for group in live.groups
    ]
    schedulers = [
        (schedule, name, list(getattr(schedule, name)))
        for schedule in live.schedulers
        for name in _LISTS
        if isinstance(getattr(schedule, name, None), list)
    ]
    kinds = [(schedule, type(schedule)) for schedule in live.schedulers]
    dropouts = [(module, module.p) for module in registry.dropouts]
    parameters = [(p, p.requires_grad, p.grad) for p in registry.parameters]
    loop = None if live.loop is None else live.loop.kept(live)
    data = None if live.data is None else live.data.keep()
    norm = getattr(live.options, "max_grad_norm", None)
    values = {} if live.values is None else {name: live.values.peek(name) for name in live.values}

    def put_back() -> None:
        if loop is not None:
            loop()
        if data is not None:
            data()
        for group, fields in groups:
            for name in group.keys() - fields.keys() - {"params"}:
                del group[name]
            for name, value in fields.items():
                _put(group, name, value)
        for scheduler, kind in kinds:
            scheduler.__class__ = kind
        for scheduler, name, rates in schedulers:
            setattr(scheduler, name, rates)
        for module, p in dropouts:
            module.p = p
        for parameter, trains, grad in parameters:
            parameter.requires_grad_(trains)
            parameter.grad = grad
        if hasattr(live.options, "max_grad_norm"):
            live.options.max_grad_norm = norm
        if live.values is not None:
            for name, value in values.items():
                live.values.write(name, value)

    return put_back


def _copy(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(item) for item in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


def _put(group: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        group[name].copy_(value)
    elif isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
        for held, saved in zip(group[name], value, strict=True):
            held.copy_(saved)
    else:
        group[name] = value

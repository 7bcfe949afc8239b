"""Settings on live objects: one reader and one writer each, registered by name.

A writer changes the place that the maths reads; a reader reads that place. They know no request,
no database and no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from branchtrack.core.settings import (
    BETAS,
    CYCLED_BETAS,
    CYCLED_MOMENTUM,
    DROPOUT,
    EPS,
    FROZEN,
    LR,
    MAX_GRAD_NORM,
    MOMENTUM,
    WEIGHT_DECAY,
    Setting,
)
from branchtrack.training import modules
from branchtrack.training.live import Live as Live
from branchtrack.training.live import number as number
from branchtrack.training.live import put as put
from branchtrack.training.momenta import (
    cycled_now,
    has,
    is_cycled,
    read_betas,
    read_momentum,
    write_betas,
    write_momentum,
)
from branchtrack.training.rates import read_lr as read_lr
from branchtrack.training.rates import write_lr as write_lr
from branchtrack.training.undo import kept

#: What the optimizer reads in each of its groups.
_FIELDS = ("lr", "weight_decay", "betas", "eps", "momentum")
_PLAIN = (BETAS, EPS, MOMENTUM)
#: An optimizer may keep its settings in float32, which tells no closer values apart.
_TOLERANCE = 1.2e-7

Groups = dict[str, list[dict[str, Any]]]


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


def read_eps(live: Live) -> float:
    """What is added to the denominator, in the first group."""
    return number(next(group["eps"] for group in live.groups if has(group, "eps")))


def write_eps(live: Live, value: float) -> None:
    """Set what is added to the denominator in every group."""
    for group in live.groups:
        if has(group, "eps"):
            put(group, "eps", value)


READERS: dict[str, Callable[[Live], Any]] = {
    "lr": read_lr,
    "weight_decay": read_weight_decay,
    "max_grad_norm": read_max_grad_norm,
    "betas": read_betas,
    "eps": read_eps,
    "momentum": read_momentum,
    "dropout": lambda live: modules.read_dropout(live.model),
    "frozen": lambda live: modules.read_frozen(live.model),
}
WRITERS: dict[str, Callable[[Live, Any], None]] = {
    "lr": write_lr,
    "weight_decay": write_weight_decay,
    "max_grad_norm": write_max_grad_norm,
    "betas": write_betas,
    "eps": write_eps,
    "momentum": write_momentum,
    "dropout": lambda live, value: modules.write_dropout(live.model, value),
    "frozen": lambda live, value: modules.write_frozen(live.model, value),
}


def declare(live: Live) -> list[Setting]:
    """The settings that these objects have; those of a named optimizer begin with its name."""
    found = []
    for prefix, part in live.parts.items():
        own = [LR] if all(group.get("lr") is not None for group in part.groups) else []
        own += [WEIGHT_DECAY] if any("weight_decay" in group for group in part.groups) else []
        if not live.is_several and hasattr(live.options, "max_grad_norm"):
            own.append(MAX_GRAD_NORM)
        for setting in (CYCLED_BETAS, EPS, CYCLED_MOMENTUM) if is_cycled(part) else _PLAIN:
            own += [setting] if any(has(group, setting.name) for group in part.groups) else []
        found += [replace(one, name=f"{prefix}.{one.name}") if prefix else one for one in own]
    found += [DROPOUT] if modules.dropouts(live.model) else []
    found.append(FROZEN)
    return found + (list(live.values.declared.values()) if live.values is not None else [])


def read_all(live: Live, details: bool = False) -> dict[str, Any]:
    """Every setting's value, read from where it is used."""
    del details
    parts = live.parts
    return {setting.name: _read(live, parts, setting.name) for setting in declare(live)}


def write_all(live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write settings, all or none, and return what can be read back of them now.

    Raises:
        InvalidInput: a value that these objects cannot have. Nothing was changed, whatever it is.
    """
    parts, put_back = live.parts, kept(live)
    try:
        for name, value in values.items():
            if live.values is not None and name in live.values.declared:
                live.values.write(name, value)
            else:
                part, own = _owner(live, parts, name)
                WRITERS[own](part, value)
    except BaseException:
        put_back()
        raise
    return {name: _read(live, parts, name) for name in values}


def resolved(live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they are read back once they have been written: patterns become paths.

    Raises:
        InvalidInput: a pattern that nothing matches.
    """
    found = dict(values)
    if "frozen" in found and not (live.values is not None and "frozen" in live.values.declared):
        found["frozen"] = modules.resolve_frozen(live.model, found["frozen"])
    return found


def read_groups(live: Live) -> Groups:
    """What the next update uses in each group of each optimizer; None: the optimizer's own."""
    return {
        prefix: [{name: _plain(group.get(name)) for name in _FIELDS} for group in part.groups]
        for prefix, part in live.parts.items()
    }


def used(live: Live) -> dict[str, Any]:
    """What the update about to be made uses; to be called between backward and the update.

    ``grad_norm`` is the norm of the gradients as the optimizer will see them; for the rest see
    `in_force`.
    """
    return {**in_force(live), "grad_norm": _grad_norm(live)}


def in_force(live: Live) -> dict[str, Any]:
    """Every setting, and of each optimizer its largest rate (``lr_now``), its ``groups``, and what
    a cycle has come to (``momentum_now``, ``betas_now``).
    """
    groups: Groups = read_groups(live)
    now: dict[str, Any] = {}
    for prefix, part in live.parts.items():
        rates = [group["lr"] for group in groups[prefix] if group["lr"] is not None]
        own = {"lr_now": max(rates, default=None), **cycled_now(part)}
        now |= {f"{prefix}.{name}" if prefix else name: value for name, value in own.items()}
    return {**read_all(live), **now, "groups": groups}


def agrees(
    wanted: Mapping[str, Any], groups: Mapping[str, list[dict[str, Any]]], found: Mapping[str, Any]
) -> bool:
    """Whether an update that used ``found`` obeyed ``wanted``, in every group as expected."""
    for name, value in wanted.items():
        prefix, _dot, own = name.rpartition(".")
        if not _close(found.get(name), value):
            return False
        if own in _FIELDS and prefix in groups:
            expected = [group[own] for group in groups[prefix]]
            if not _close([group[own] for group in found["groups"][prefix]], expected):
                return False
    limit = wanted.get("max_grad_norm", 0.0)
    return not limit or bool(found["grad_norm"] <= limit * 1.01 + 1e-6)


def _read(live: Live, parts: Mapping[str, Live], name: str) -> Any:
    if live.values is not None and name in live.values.declared:
        return live.values.peek(name)
    part, own = _owner(live, parts, name)
    return READERS[own](part)


def _owner(live: Live, parts: Mapping[str, Live], name: str) -> tuple[Live, str]:
    """The optimizer that a setting belongs to, and what it is called there."""
    prefix, _dot, own = name.rpartition(".")
    return (parts[prefix], own) if prefix else (live, name)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return number(value) if isinstance(value, (int, float, torch.Tensor)) else None


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
    return abs(found - wanted) <= _TOLERANCE * max(abs(found), abs(wanted))

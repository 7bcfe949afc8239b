"""Momentum and betas on live objects, also where a schedule cycles the momentum.

A cycle sets momentum, or the first of the betas, at each of its steps between two bounds that torch
keeps in the groups and in some schedulers. The setting is then the cycle's upper bound, as `lr` is
the base of the rates; the lower keeps its ratio to it. It knows no request and no other setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from branchtrack.training.settings.live import Live, number, put

#: What a cycle keeps in a group, and what a scheduler may keep itself, for the same groups.
_BOUNDS = ("max_momentum", "base_momentum")
_OWN_BOUNDS = ("max_momentums", "base_momentums")


def has(group: Mapping[str, Any], name: str) -> bool:
    """Return whether a group has a setting as a number, or as two for the betas."""
    value = group.get(name)
    if name == "betas":
        return isinstance(value, (list, tuple)) and len(value) == 2
    return isinstance(value, (int, float, torch.Tensor))


def is_cycled(live: Live) -> bool:
    """Return whether the schedule sets momentum, or the first of the betas, at each step."""
    cycled = any(getattr(scheduler, "cycle_momentum", False) for scheduler in live.schedulers)
    return cycled and all("max_momentum" in group for group in live.groups)


def read_momentum(live: Live) -> float:
    """Return the momentum of the first group; if the schedule cycles it, the cycle's maximum."""
    return _most(live) if is_cycled(live) else momentum_now(live)


def write_momentum(live: Live, value: float) -> None:
    """Set the momentum of every group; a cycle is scaled, and continues from where it is."""
    if is_cycled(live):
        _scale(live, value)
        return
    for group in live.groups:
        if has(group, "momentum"):
            put(group, "momentum", value)


def read_betas(live: Live) -> list[float]:
    """Return the decay rates of the two moments in the first group; for a cycle its maximum."""
    first, second = betas_now(live)
    return [_most(live) if is_cycled(live) else first, second]


def write_betas(live: Live, value: list[float]) -> None:
    """Set the decay rates of the two moments in every group; the cycle of the first is scaled."""
    cycled = is_cycled(live)
    if cycled:
        _scale(live, value[0])
    for group in live.groups:
        if has(group, "betas"):
            _put_beta(group, 1, value[1])
            if not cycled:
                _put_beta(group, 0, value[0])


def momentum_now(live: Live) -> float:
    """Return the momentum of the first group, as the next update uses it."""
    return number(next(group["momentum"] for group in live.groups if has(group, "momentum")))


def betas_now(live: Live) -> list[float]:
    """Return the decay rates of the first group, as the next update uses them."""
    group = next(group for group in live.groups if has(group, "betas"))
    return [number(beta) for beta in group["betas"]]


def cycled_now(live: Live) -> dict[str, Any]:
    """Return the momentum or betas that the cycle has set for the next update, by name."""
    if not is_cycled(live):
        return {}
    values: dict[str, Any] = {}
    if any(has(group, "momentum") for group in live.groups):
        values["momentum_now"] = momentum_now(live)
    if any(has(group, "betas") for group in live.groups):
        values["betas_now"] = betas_now(live)
    return values


def _most(live: Live) -> float:
    """Return the cycle's upper bound: the groups' maximum, so that none exceeds what is set."""
    return max(number(group["max_momentum"]) for group in live.groups)


def _scale(live: Live, value: float) -> None:
    """Give the cycle another upper bound; ratios within it and between groups are kept."""
    old = _most(live)
    for group in live.groups:
        for name in _BOUNDS:
            group[name] = _scaled(number(group[name]), old, value)
        if has(group, "momentum"):
            put(group, "momentum", _scaled(number(group["momentum"]), old, value))
        if has(group, "betas"):
            _put_beta(group, 0, _scaled(number(group["betas"][0]), old, value))
    for scheduler in live.schedulers:
        for name in _OWN_BOUNDS:
            if hasattr(scheduler, name):
                bounds = [_scaled(number(bound), old, value) for bound in getattr(scheduler, name)]
                setattr(scheduler, name, bounds)


def _scaled(value: float, old: float, new: float) -> float:
    """Return ``value`` scaled as ``old`` is to ``new``; exactly ``new`` where it equals ``old``."""
    if value == old:
        return new
    return value * (new / old) if old else value


def _put_beta(group: dict[str, Any], index: int, value: float) -> None:
    held = list(group["betas"])
    if isinstance(held[index], torch.Tensor):
        held[index].fill_(value)
    else:
        held[index] = value
    group["betas"] = type(group["betas"])(held)

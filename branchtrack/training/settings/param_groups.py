"""Settings kept as they are in the parameter groups, or beside them: decay, eps, clipping.

Works on one optimizer; knows no schedule and no request.
"""

from __future__ import annotations

from branchtrack.training.settings.live import Live, number, put
from branchtrack.training.settings.momenta import has


def read_weight_decay(live: Live) -> float:
    """Return the weight decay of the groups that are decayed: the largest."""
    return max((number(group.get("weight_decay", 0.0)) for group in live.groups), default=0.0)


def write_weight_decay(live: Live, value: float) -> None:
    """Set the weight decay of the groups that are meant to be decayed; ratios are kept."""
    old = read_weight_decay(live)
    for group, decayed in zip(live.groups, live.decayed, strict=True):
        if not decayed:
            continue
        current = number(group["weight_decay"])
        put(group, "weight_decay", value if current == old or not old else current * (value / old))


def read_max_grad_norm(live: Live) -> float:
    """Return the norm above which gradients are clipped; 0 is off."""
    return float(live.options.max_grad_norm or 0.0)


def write_max_grad_norm(live: Live, value: float) -> None:
    """Set the norm above which gradients are clipped."""
    live.options.max_grad_norm = value


def read_eps(live: Live) -> float:
    """Return what is added to the denominator, in the first group."""
    return number(next(group["eps"] for group in live.groups if has(group, "eps")))


def write_eps(live: Live, value: float) -> None:
    """Set what is added to the denominator in every group."""
    for group in live.groups:
        if has(group, "eps"):
            put(group, "eps", value)

"""Fields of optimizers that have no named setting of their own, found by inspection.

A field can be changed if the optimizer's constructor takes it, every group keeps it as a number or
a list of numbers, and each update reads it anew. What determines its state at the first update, or
how it computes, cannot. This module knows no request and no scheduler.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from branchtrack.core.builtin_settings import AT_RESUME, OPTIMIZER
from branchtrack.core.settings import Setting
from branchtrack.training.settings.live import Live, number, put

#: Handled elsewhere: rates and momentum with their schedules, and fields with a named setting.
_OF_OTHERS = frozenset(
    """params lr initial_lr max_lr min_lr base_momentum max_momentum weight_decay eps betas momentum
    """.split()
)
#: What is used when the state is created or sizes it, or selects how to compute; and the direction,
#: which a change of settings should never reverse.
_MADE_ONCE = frozenset(
    """initial_accumulator_value history_size foreach fused capturable differentiable amsgrad
    centered maximize decoupled_weight_decay""".split()
)
#: Switches of torch's own optimizers that leave the state unchanged.
_SWITCHES = ("nesterov",)
#: What is known of fields: dtype, minimum, maximum, whether the minimum is excluded.
_KNOWN: dict[str, tuple[str, float | None, float | None, bool]] = {
    "dampening": ("float", 0.0, 1.0, False),
    "alpha": ("float", 0.0, 1.0, False),
    "rho": ("float", 0.0, 1.0, False),
    "lr_decay": ("float", 0.0, None, False),
    "momentum_decay": ("float", 0.0, None, False),
    "lambd": ("float", 0.0, None, False),
    "t0": ("float", 0.0, None, False),
    "d": ("float", 0.0, None, True),
    "beta2_decay": ("float", None, 0.0, False),
    "etas": ("floats", 0.0, None, True),
    "step_sizes": ("floats", 0.0, None, True),
    "ns_steps": ("int", 1, 99, False),
    "max_iter": ("int", 1, None, False),
    "max_eval": ("int", 1, None, False),
    "tolerance_grad": ("float", 0.0, None, False),
    "tolerance_change": ("float", 0.0, None, False),
    "clip_threshold": ("float", 0.0, None, True),
}


def declare(live: Live) -> list[Setting]:
    """Return the fields of one optimizer that can be changed once its state exists, by name."""
    taken = _constructor(live.optimizer)
    if taken is None or not live.groups:
        return []
    names = set.intersection(*(set(group) for group in live.groups)) & taken.keys()
    names -= _OF_OTHERS | AT_RESUME.keys() | _MADE_ONCE
    if _is_listed(live.groups[0].get("eps")):
        names |= {"eps"}
    if _is_listed(live.groups[0].get("betas")) and len(live.groups[0]["betas"]) != 2:
        names |= {"betas"}
    fields = (_setting(live, name, taken[name]) for name in sorted(names & taken.keys()))
    return [field for field in fields if field is not None]


def read(live: Live, name: str) -> Any:
    """Return a field's value in the first group."""
    value = live.groups[0][name]
    if isinstance(value, bool):
        return value
    return (
        [number(element) for element in value]
        if isinstance(value, (list, tuple))
        else _number(value)
    )


def write(live: Live, name: str, value: Any) -> None:
    """Set a field in every group."""
    for group in live.groups:
        held = group[name]
        if isinstance(held, (list, tuple)):
            group[name] = type(held)(
                current.fill_(new) if isinstance(current, torch.Tensor) else new
                for current, new in zip(held, value, strict=True)
            )
        else:
            put(group, name, value)


def refusal(live: Live) -> Exception | None:
    """Return why the optimizer's own constructor refuses its groups' present values, or None."""
    errors = (_refusal(live.optimizer, group) for group in live.groups)
    return next((error for error in errors if error is not None), None)


def _refusal(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> Exception | None:
    taken = _constructor(optimizer) or {}
    arguments = {
        name: value
        for name, value in group.items()
        if name in taken and name not in ("params", "foreach", "fused", "capturable")
    }
    # With as many dimensions as the real one: Muon takes only matrices.
    dimensions = next((p.dim() for p in group["params"]), 1)
    aside = torch.nn.Parameter(torch.zeros((1,) * dimensions))
    with warnings.catch_warnings(action="ignore"):
        try:
            type(optimizer)([aside], **arguments)
        except Exception as error:
            return error
    return None


def _constructor(optimizer: Any) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(type(optimizer)).parameters
    except (TypeError, ValueError):
        return None


def _setting(live: Live, name: str, taken: inspect.Parameter) -> Setting | None:
    value = live.groups[0][name]
    about = f"{name} of {type(live.optimizer).__name__}"
    if isinstance(value, bool):
        of_torch = type(live.optimizer).__module__.startswith("torch.optim")
        return (
            Setting(name, "bool", about=about, group=OPTIMIZER)
            if of_torch and name in _SWITCHES
            else None
        )
    if not (_is_number(value) or _is_listed(value)):
        return None
    inferred = (
        "floats" if _is_listed(value) else "int" if _is_whole(value, taken.annotation) else "float"
    )
    dtype, low, high, above = _KNOWN.get(name, (inferred, None, None, False))
    if (dtype == "floats") != _is_listed(value):
        dtype, low, high, above = inferred, None, None, False
    count = len(value) if _is_listed(value) else 1
    # What is infinite by default (Prodigy's growth_rate) may be infinite again.
    values = [*(value if _is_listed(value) else [value]), taken.default]
    infinite = any(isinstance(element, float) and math.isinf(element) for element in values)
    return Setting(
        name,
        dtype,
        low,
        high,
        above,
        about=about,
        count=count,
        infinite=infinite,
        group=OPTIMIZER,
    )


def _is_whole(value: Any, annotation: Any) -> bool:
    """Return whether a field is a count, by the constructor's annotation or by its value."""
    if annotation in (int, "int"):
        return True
    return annotation is inspect.Parameter.empty and isinstance(value, int) and value != 0


def _is_number(value: Any) -> bool:
    is_scalar = isinstance(value, torch.Tensor) and value.numel() == 1
    return is_scalar or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_listed(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_number, value))


def _number(value: Any) -> int | float:
    return value if isinstance(value, int) else number(value)

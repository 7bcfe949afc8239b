"""What the script of a plain loop requests, and how it compares with the node it resumes.

The record is flat: a name, after the optimizer's if there are several and before the number of the
parameter group, and a plain value. It knows no session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR, MultiplicativeLR

from branchtrack.checkpoints.tensors import decode, encode
from branchtrack.core.catalog import SCHEDULER
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.settings import modules
from branchtrack.training.settings.learning_rates import base_rate
from branchtrack.training.settings.live import Live, number
from branchtrack.training.state import model_repr
from branchtrack.training.state.mismatch import ACCEPTED, Difference, equal, quoted, refuse

#: What of the data, and of the loop, may differ on purpose.
_INTENDED = (
    "dataset_length",
    "drop_last",
    "sampler",
    "num_workers",
    "batch_size",
    "max_steps",
    "save_steps",
    "seed",
)
#: What schedulers and groups have that follows from the learning rate.
_RATES = ("base_lrs", "_last_lr", "lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
#: What a schedule that cycles it sets in the groups.
_CYCLED = ("momentum", "betas", "max_momentum", "base_momentum")
#: Points at which functions of the step are compared, since they have no name and no value.
_STEPS = (0, 1, 2, 3, 5, 8, 10, 20, 50, 100, 1000, 10000)


def record(live: Live, requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the script requests: live objects as it built them, and ``requested``."""
    values: dict[str, Any] = dict(requested)
    for path, module in _models(live.model):
        values[path] = type(module).__name__
    for prefix, optimizer_objects in live.parts.items():
        values |= {f"{prefix}.{n}" if prefix else n: v for n, v in _of_part(optimizer_objects)}
    p = {name: float(module.p) for name, module in modules.dropouts(live.model).items()}
    if p:
        values["dropout"] = next(iter(p.values())) if len(set(p.values())) == 1 else p
    values["frozen"] = modules.read_frozen(live.model)
    values |= model_repr.of(live.model)
    if live.values is not None:
        values |= {f"settings.{name}": live.values.peek(name) for name in live.values}
    return values


def check(
    current: Mapping[str, Any],
    recorded: Mapping[str, Any],
    settings: Mapping[str, Any],
    declared: Mapping[str, Any],
    accepted: Collection[str] = (),
) -> None:
    """Refuse a script that requests something else than the one that created the node.

    ``current`` and ``recorded`` are records; ``settings`` the node's own; ``accepted`` are names of
    differences that are intended.

    Raises:
        CheckpointMismatch: with both values and the two ways out.
    """
    is_script_schedule = declared.get(SCHEDULER.name) == "script"
    names = (current.keys() | recorded.keys()) - {model_repr.MODULES}
    differences = []
    # The class of an optimizer or a schedule says more than how it differs.
    for name in sorted(names, key=lambda name: (not _is_class(name), name)):
        actual, expected = current.get(name), recorded.get(name)
        setting = _setting_of(name)
        if equal(actual, expected) or setting in declared and setting != SCHEDULER.name:
            continue
        if setting in settings and _agree(actual, settings[setting]):
            continue
        if is_script_schedule and (
            setting == SCHEDULER.name or _is_cycled(name, current, recorded)
        ):
            continue
        if name in accepted and _is_intended(name, settings):
            continue
        differences.append(_difference(name, actual, expected, setting, settings))
    refuse(differences, accepted)
    model_repr.check(current, recorded)


def _is_class(name: str) -> bool:
    return name.startswith("model") or name.rpartition(".")[2] in ("optimizer", SCHEDULER.name)


def _is_intended(name: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a difference may be intended: the node has nothing that would replace it."""
    may_differ = name in _INTENDED or name.startswith("settings.")
    return may_differ and _setting_of(name) not in settings


def _difference(
    name: str, actual: Any, expected: Any, setting: str, settings: Mapping[str, Any]
) -> Difference:
    force = settings.get(setting)
    in_force = f" (in force in it: {setting} = {force!r})" if setting in settings else ""
    if setting == SCHEDULER.name:
        in_force, option = "", "--set scheduler=script"
    elif setting in settings and actual is not None:
        listed = isinstance(actual, (list, tuple))
        value = ",".join(map(str, actual)) if listed else actual
        option = f"--set {setting}={quoted(value)}"
    elif _is_intended(name, settings):
        option = ACCEPTED
    else:
        option = ""
    return Difference(name, actual, expected, in_force, option)


def _setting_of(name: str) -> str:
    """Return the setting for a declared change of what a record calls ``name``."""
    if name.startswith("settings."):
        return name.removeprefix("settings.")
    plain = name.partition("[")[0]
    parts = plain.split(".")
    return SCHEDULER.name if SCHEDULER.name in parts else plain


def _agree(actual: Any, value: Any) -> bool:
    # Numbers that JSON lacks are spelled as in a state.
    actual = decode(actual, {}) if isinstance(actual, dict) else actual
    return bool(
        list(actual) == list(value)
        if isinstance(value, (list, tuple)) and isinstance(actual, (list, tuple))
        else actual == value
    )


def _is_cycled(name: str, current: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Return whether it is momentum that either schedule sets at each of its steps."""
    prefix, _dot, local_name = name.partition("[")[0].rpartition(".")
    cycled = f"{prefix}.scheduler.max_momentum" if prefix else "scheduler.max_momentum"
    is_cyclic = any(key.startswith(cycled) for key in [*current, *recorded])
    return local_name in ("momentum", "betas") and is_cyclic


def _models(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    if isinstance(model, torch.nn.ModuleDict):
        for name, module in model.items():
            yield f"model.{name}", module
    else:
        yield "model", model


def _of_part(optimizer_objects: Live) -> Iterator[tuple[str, Any]]:
    """Yield what is requested of one optimizer and its scheduler."""
    yield "optimizer", type(optimizer_objects.optimizer).__name__
    groups = optimizer_objects.optimizer.param_groups
    for index, group in enumerate(groups):
        behind = f"[{index}]" if len(groups) > 1 else ""
        for name, value in _of_group(group):
            yield f"{name}{behind}", value
    scheduler = optimizer_objects.scheduler
    yield SCHEDULER.name, None if scheduler is None else type(scheduler).__name__
    if scheduler is not None:
        for name, value in _of_scheduler(scheduler):
            yield f"{SCHEDULER.name}.{name}", value


def _of_group(group: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    rate = base_rate(group) if group.get("lr") is not None else None
    yield "lr", rate
    for name, value in group.items():
        if name == "params" or name in _RATES:
            # A schedule's other rates depend on the base, so they are compared as ratios.
            if rate and name in ("initial_lr", "min_lr"):
                yield f"{SCHEDULER.name}.{name}", float(f"{number(value) / rate:.9g}")
        elif "max_momentum" in group and name in _CYCLED:
            yield f"{SCHEDULER.name}.{name}", _plain(value)
        else:
            yield name, _plain(value)


def _of_scheduler(scheduler: Any) -> Iterator[tuple[str, Any]]:
    for name, value in scheduler.state_dict().items():
        if name not in (*_RATES, "_schedulers", "lr_lambdas"):
            yield name, _plain(value)
    for index, inner in enumerate(getattr(scheduler, "_schedulers", ())):
        yield f"{index}", type(inner).__name__
        for name, value in _of_scheduler(inner):
            yield f"{index}.{name}", value
    if isinstance(scheduler, (LambdaLR, MultiplicativeLR)):
        yield "lr_lambda", [_shape(function) for function in scheduler.lr_lambdas]


def _shape(function: Any) -> Any:
    """Return a function of the step by its values; an object by its own."""
    if not isinstance(function, FunctionType):
        return [type(function).__name__, _plain(getattr(function, "__dict__", {}))]
    values = []
    for step in _STEPS:
        value = None
        with suppress(Exception):
            value = float(function(step))
        values.append(value)
    return values


def _plain(value: Any) -> Any:
    """Return a value as JSON; anything that is not plain by the name of its class."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    try:
        return encode(value, "", {})
    except CheckpointMismatch:
        return type(value).__name__

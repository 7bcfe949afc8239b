"""What the script of a plain loop requests, and how it compares with the node it resumes.

The record is flat: a name, after the optimizer's if there are several and before the number of the
parameter group, and a plain value. It knows no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR, MultiplicativeLR

from branchtrack.checkpoints.tensors import decode, encode
from branchtrack.core.builtin_settings import SCHEDULER
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.ranks.models import class_name
from branchtrack.training.settings import modules
from branchtrack.training.settings.learning_rates import base_rate
from branchtrack.training.settings.live import Live, number
from branchtrack.training.state import model_repr
from branchtrack.training.state.mismatch import quoted
from branchtrack.training.state.script_record import (
    AUTHOR_PREFIX,
    ScriptComparison,
    author_settings,
)

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


def describe_script(live: Live, requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the script requests: live objects as it built them, and ``requested``."""
    values: dict[str, Any] = dict(requested)
    for path, module in _models(live.model):
        values[path] = class_name(module)
    for prefix, optimizer_objects in live.parts.items():
        values |= {f"{prefix}.{n}" if prefix else n: v for n, v in _of_part(optimizer_objects)}
    p = {name: float(module.p) for name, module in modules.dropouts(live.model).items()}
    if p:
        values["dropout"] = next(iter(p.values())) if len(set(p.values())) == 1 else p
    values["frozen"] = modules.read_frozen(live.model)
    values |= model_repr.of(live.model)
    if live.values is not None:
        values |= author_settings(live.values)
    return values


class LoopComparison(ScriptComparison):
    """The records of two scripts with a loop of their own."""

    def setting_of(self, name: str) -> str:
        """See the base class."""
        if name.startswith(AUTHOR_PREFIX):
            return name.removeprefix(AUTHOR_PREFIX)
        plain = name.partition("[")[0]
        return SCHEDULER.name if SCHEDULER.name in plain.split(".") else plain

    def is_declared(self, name: str) -> bool:
        """See the base class; a schedule of the script's own brings what it sets."""
        setting = self.setting_of(name)
        if setting != SCHEDULER.name and setting in self.declared:
            return True
        is_script_schedule = self.declared.get(SCHEDULER.name) == "script"
        is_set_by_it = setting == SCHEDULER.name or _is_cycled(name, self.current, self.recorded)
        return is_script_schedule and is_set_by_it

    def is_in_node(self, name: str) -> bool:
        """See the base class."""
        setting = self.setting_of(name)
        return setting in self.settings and _agree(self.current.get(name), self.settings[setting])

    def is_intended(self, name: str) -> bool:
        """See the base class."""
        may_differ = name in _INTENDED or name.startswith(AUTHOR_PREFIX)
        return may_differ and self.setting_of(name) not in self.settings

    def option(self, name: str) -> str:
        """See the base class."""
        setting, actual = self.setting_of(name), self.current.get(name)
        if setting == SCHEDULER.name:
            return "--set scheduler=script"
        if setting not in self.settings or actual is None:
            return ""
        value = ",".join(map(str, actual)) if isinstance(actual, (list, tuple)) else actual
        return f"--set {setting}={quoted(value)}"

    def in_force(self, name: str) -> str:
        """See the base class; a schedule has no value that would say more."""
        return "" if self.setting_of(name) == SCHEDULER.name else super().in_force(name)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """See the base class; the class of an object says more than how it differs."""
        return sorted(names, key=lambda name: (not _is_class(name), name))


def _is_class(name: str) -> bool:
    return name.startswith("model") or name.rpartition(".")[2] in ("optimizer", SCHEDULER.name)


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

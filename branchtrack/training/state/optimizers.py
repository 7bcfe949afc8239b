"""The state of optimizers and schedulers, captured and restored: one alone, several by name.

The form of one alone has no name in it, so that the digests of its states stay what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from branchtrack.checkpoints.tensors import decode, encode
from branchtrack.training.settings.live import Live, put
from branchtrack.training.state.mismatch import must_match

_SCHEDULER_SETTINGS = ("base_lrs", "_last_lr")
#: The key that holds several optimizers, or their schedulers, by name.
_SEVERAL = "several"


def state_of(live: Live, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Return moments and parameter names as JSON; their tensors are added to ``tensors``."""
    if not live.is_several:
        return _state(live, "optimizer", tensors)
    parts = live.parts.items()
    return {
        _SEVERAL: {
            name: _state(optimizer_objects, f"optimizer/{name}", tensors)
            for name, optimizer_objects in parts
        }
    }


def schedule_of(live: Live, tensors: dict[str, torch.Tensor]) -> dict[str, Any] | None:
    """Return the state of the schedule; None if no optimizer has one."""
    if not live.is_several:
        return _schedule(live, "scheduler", tensors)
    parts = live.parts.items()
    schedules = {
        name: _schedule(optimizer_objects, f"scheduler/{name}", tensors)
        for name, optimizer_objects in parts
    }
    return {_SEVERAL: schedules} if any(schedules.values()) else None


def restore(
    live: Live,
    state: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    settings: Sequence[Mapping[str, Any]],
) -> None:
    """Restore moments and group settings; ``settings`` are those of all groups in order.

    Raises:
        CheckpointMismatch: other optimizers, or other parameters in them.
    """
    parts, states = live.parts, state.get(_SEVERAL, {"": state})
    must_match("the names of optimizers", sorted(parts), sorted(states))
    start = 0
    for name, optimizer_objects in parts.items():
        end = start + len(states[name]["groups"])
        _restore(optimizer_objects, states[name], tensors, settings[start:end])
        start = end


def restore_schedule(
    live: Live, state: Mapping[str, Any] | None, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Restore the state of schedulers.

    Raises:
        CheckpointMismatch: a scheduler of another class, or one where there was none.
    """
    parts = live.parts
    absent = dict.fromkeys(parts) if live.is_several else {"": None}
    states = absent if state is None else state.get(_SEVERAL, {"": state})
    must_match("the names of optimizers", sorted(parts), sorted(states))
    for name, optimizer_objects in parts.items():
        _restore_schedule(optimizer_objects, states[name], tensors)


def group_settings(live: Live) -> list[dict[str, Any]]:
    held: dict[str, torch.Tensor] = {}
    groups = [
        {
            name: encode(_bare(value), name, held)
            for name, value in group.items()
            if name != "params"
        }
        for group in live.groups
    ]
    return groups


def _bare(value: Any) -> Any:
    """Return a group's value without its holder; a float64 of numpy differs only in its class."""
    holds = isinstance(value, torch.Tensor) or type(value) is np.float64
    return value.item() if holds else value


def parameter_names(live: Live) -> list[list[str]]:
    """Return the name of every parameter of every group; those outside the model are numbered."""
    names = {id(parameter): name for name, parameter in live.model.named_parameters()}
    return [
        [names.get(id(p), f"group{group_index}.{index}") for index, p in enumerate(group["params"])]
        for group_index, group in enumerate(live.groups)
    ]


def _state(live: Live, path: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    names = parameter_names(live)
    moments: dict[str, Any] = {}
    on_device = any(p.device.type != "cpu" for group in live.groups for p in group["params"])
    on_host: list[str] = []
    for group, group_names in zip(live.groups, names, strict=True):
        for parameter, name in zip(group["params"], group_names, strict=True):
            entry = live.optimizer.state.get(parameter)
            if not entry:
                continue
            moments[name] = {
                key: encode(value, f"{path}/{name}/{key}", tensors) for key, value in entry.items()
            }
            on_host += [
                f"{name}/{key}"
                for key, value in (entry.items() if on_device else ())
                if isinstance(value, torch.Tensor) and value.device.type == "cpu"
            ]
    own_state = _own_state(live.optimizer)
    return {
        "class": type(live.optimizer).__name__,
        "groups": names,
        "state": moments,
        "host": on_host,
    } | ({"own": encode(own_state, f"{path}/own", tensors)} if own_state else {})


def _own_state(optimizer: Any) -> dict[str, Any]:
    """Return what an optimizer keeps that belongs to no parameter: by name, or beside them."""
    named = {name: value for name, value in optimizer.state.items() if isinstance(name, str)}
    extras = {"state": named} if named else {}
    if type(optimizer).state_dict is not torch.optim.Optimizer.state_dict:
        standard = ("state", "param_groups")
        beside = {n: v for n, v in optimizer.state_dict().items() if n not in standard}
        extras |= {"beside": beside} if beside else {}
    return extras


def _schedule(live: Live, path: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any] | None:
    if live.scheduler is None:
        return None
    state = dict(live.scheduler.state_dict())
    bases = [group.get("initial_lr") for group in live.groups]
    current = [group["lr"] for group in live.groups]
    # Those that only repeat the groups are settings; a scheduler that keeps others keeps them.
    repeated = dict(zip(_SCHEDULER_SETTINGS, (bases, current), strict=True))
    settings = [name for name, value in repeated.items() if state.get(name) == value]
    remaining = {name: value for name, value in state.items() if name not in settings}
    return {
        "class": type(live.scheduler).__name__,
        "state": encode(remaining, path, tensors),
        "settings": settings,
    }


def _restore(
    live: Live,
    state: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    settings: Sequence[Mapping[str, Any]],
) -> None:
    must_match("the optimizer", type(live.optimizer).__name__, state["class"])
    must_match("the optimizer's parameter groups", parameter_names(live), state["groups"])
    host = set(state["host"])
    own_state = decode(state.get("own", {}), tensors)
    if own_state.get("beside"):
        # Before all that is set exactly below.
        live.optimizer.load_state_dict({**live.optimizer.state_dict(), **own_state["beside"]})
    live.optimizer.state.clear()
    live.optimizer.state.update(own_state.get("state", {}))
    for group, names in zip(live.groups, state["groups"], strict=True):
        for parameter, name in zip(group["params"], names, strict=True):
            if name in state["state"]:
                # Set directly: Optimizer.load_state_dict casts to the parameter's dtype.
                live.optimizer.state[parameter] = {
                    key: _placed(decode(value, tensors), parameter, f"{name}/{key}" in host)
                    for key, value in state["state"][name].items()
                }
    for group, held in zip(live.groups, settings, strict=True):
        for name, value in held.items():
            plain = decode(value, {})
            if isinstance(group.get(name), torch.Tensor):
                put(group, name, plain)
            else:
                group[name] = plain


def _restore_schedule(
    live: Live, state: Mapping[str, Any] | None, tensors: Mapping[str, torch.Tensor]
) -> None:
    current = None if live.scheduler is None else type(live.scheduler).__name__
    must_match("the scheduler", current, None if state is None else state["class"])
    if state is None:
        return
    restored = decode(state["state"], tensors)
    if "base_lrs" in state["settings"]:
        restored["base_lrs"] = [group["initial_lr"] for group in live.groups]
    if "_last_lr" in state["settings"]:
        restored["_last_lr"] = [group["lr"] for group in live.groups]
    live.scheduler.load_state_dict(restored)


def _placed(value: Any, parameter: torch.Tensor, on_host: bool) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.clone() if on_host else value.to(parameter.device, copy=True)

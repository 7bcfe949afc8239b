"""The complete state of a training loop, out and in, exactly.

State is what the next update depends on except settings: weights, buffers, moments, schedule
position, random generators, module flags, and whatever the loop adds. Settings (learning rates,
weight decay, clipping) travel beside it, so equal states have equal digests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from branchtrack.checkpoints.tensors import decode, dtype_name, encode
from branchtrack.errors import CheckpointMismatch
from branchtrack.training import rng
from branchtrack.training.apply import Live, put
from branchtrack.training.buffers import Buffers

_SCHEDULER_SETTINGS = ("base_lrs", "_last_lr")


@dataclass
class Snapshot:
    """A captured state: host tensors by name, JSON, and the optimizer's group settings."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    param_groups: list[dict[str, Any]] = field(default_factory=list)


def capture(live: Live, extra: Mapping[str, Any], buffers: Buffers) -> Snapshot:
    """The state at this moment; ``extra`` is the loop's own (counters, position, window).

    Raises:
        CheckpointMismatch: something in it cannot be stored without pickle.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in _model_tensors(live.model).items():
        dtype_name(f"model/{name}", tensor)
        tensors[f"model/{name}"] = tensor
    state: dict[str, Any] = {
        "optimizer": _optimizer_state(live, tensors),
        "scheduler": _scheduler_state(live, tensors),
        "rng": encode(rng.capture(), "rng", tensors),
        "modules": _module_flags(live.model),
        "loop": encode(dict(extra), "loop", tensors),
    }
    aliases = _aliases(tensors)
    if aliases:
        state["aliases"] = aliases
    if hasattr(getattr(live.model, "config", None), "to_json_string"):
        state["model_config"] = _config(live.model)
    return Snapshot(buffers.copy(tensors), state, _group_settings(live))


def restore(live: Live, snapshot: Snapshot) -> dict[str, Any]:
    """Put a state back into live objects, settings as they were in it; returns the loop's part.

    Random generators are left alone: the loop restores them at its own moment (`restore_rng`).

    Raises:
        CheckpointMismatch: the model, optimizer or scheduler is of another shape.
    """
    tensors, state = snapshot.tensors, snapshot.state
    _restore_model(live.model, tensors)
    _restore_flags(live.model, state["modules"])
    _restore_optimizer(live, state["optimizer"], snapshot)
    _restore_scheduler(live, state["scheduler"], tensors)
    return loop_state(snapshot)


def loop_state(snapshot: Snapshot) -> dict[str, Any]:
    """The part of a state that the loop itself gave."""
    loop: dict[str, Any] = decode(snapshot.state["loop"], snapshot.tensors)
    return loop


def restore_model(live: Live, snapshot: Snapshot) -> None:
    """Put weights and buffers alone back.

    Raises:
        CheckpointMismatch: the model is of another shape.
    """
    _restore_model(live.model, snapshot.tensors)


def random_state(snapshot: Snapshot) -> dict[str, Any]:
    """The state of every random generator, as `rng.restore` takes it."""
    found: dict[str, Any] = decode(snapshot.state["rng"], snapshot.tensors)
    return found


def restore_rng(snapshot: Snapshot) -> None:
    """Set every random generator to the snapshot's."""
    rng.restore(random_state(snapshot))


def parameter_names(live: Live) -> list[list[str]]:
    """The name of every parameter of every group; those outside the model are numbered."""
    known = {id(parameter): name for name, parameter in live.model.named_parameters()}
    return [
        [known.get(id(p), f"group{place}.{index}") for index, p in enumerate(group["params"])]
        for place, group in enumerate(live.groups)
    ]


def _model_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {
        name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)
    }
    # Buffers that state_dict leaves out may be changed by forward passes all the same.
    found.update({name: value for name, value in model.named_buffers() if name not in found})
    return found


def _optimizer_state(live: Live, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    names = parameter_names(live)
    moments: dict[str, Any] = {}
    on_host: list[str] = []
    for group, group_names in zip(live.groups, names, strict=True):
        for parameter, name in zip(group["params"], group_names, strict=True):
            entry = live.optimizer.state.get(parameter)
            if not entry:
                continue
            moments[name] = {
                key: encode(value, f"optimizer/{name}/{key}", tensors)
                for key, value in entry.items()
            }
            on_host += [
                f"{name}/{key}"
                for key, value in entry.items()
                if isinstance(value, torch.Tensor) and value.device.type == "cpu"
            ]
    on_device = any(p.device.type != "cpu" for group in live.groups for p in group["params"])
    return {
        "class": type(live.optimizer).__name__,
        "groups": names,
        "state": moments,
        "host": on_host if on_device else [],
    }


def _scheduler_state(live: Live, tensors: dict[str, torch.Tensor]) -> dict[str, Any] | None:
    if live.scheduler is None:
        return None
    found = dict(live.scheduler.state_dict())
    bases = [group.get("initial_lr") for group in live.groups]
    current = [group["lr"] for group in live.groups]
    # Those that only repeat the groups are settings; a scheduler that keeps others keeps them.
    repeated = dict(zip(_SCHEDULER_SETTINGS, (bases, current), strict=True))
    settings = [name for name, value in repeated.items() if found.get(name) == value]
    kept = {name: value for name, value in found.items() if name not in settings}
    return {
        "class": type(live.scheduler).__name__,
        "state": encode(kept, "scheduler", tensors),
        "settings": settings,
    }


def _group_settings(live: Live) -> list[dict[str, Any]]:
    held: dict[str, torch.Tensor] = {}
    groups = [
        {
            name: encode(value.item() if isinstance(value, torch.Tensor) else value, name, held)
            for name, value in group.items()
            if name != "params"
        }
        for group in live.groups
    ]
    return groups


def _module_flags(model: torch.nn.Module) -> dict[str, Any]:
    dropout = {
        name: float(module.p)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.modules.dropout._DropoutNd)
    }
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    return {"frozen": frozen, "dropout": dropout}


def _restore_flags(model: torch.nn.Module, flags: Mapping[str, Any]) -> None:
    frozen = set(flags["frozen"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    modules = dict(model.named_modules())
    for name, p in flags["dropout"].items():
        if name in modules:
            setattr(modules[name], "p", p)  # noqa: B010 - mypy knows no attribute p of Module


def _restore_model(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    mine = _model_tensors(model)
    theirs = {
        name.removeprefix("model/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("model/")
    }
    _same("the model's tensors", sorted(mine), sorted(theirs))
    for name, tensor in mine.items():
        _same(f"the shape of {name}", tuple(tensor.shape), tuple(theirs[name].shape))
        _same(f"the dtype of {name}", str(tensor.dtype), str(theirs[name].dtype))
    with torch.no_grad():
        for name, tensor in mine.items():
            tensor.copy_(theirs[name])


def _restore_optimizer(live: Live, state: Mapping[str, Any], snapshot: Snapshot) -> None:
    _same("the optimizer", type(live.optimizer).__name__, state["class"])
    _same("the optimizer's parameter groups", parameter_names(live), state["groups"])
    host = set(state["host"])
    live.optimizer.state.clear()
    for group, names in zip(live.groups, state["groups"], strict=True):
        for parameter, name in zip(group["params"], names, strict=True):
            if name in state["state"]:
                # Set directly: Optimizer.load_state_dict casts to the parameter's dtype.
                live.optimizer.state[parameter] = {
                    key: _placed(
                        decode(value, snapshot.tensors), parameter, f"{name}/{key}" in host
                    )
                    for key, value in state["state"][name].items()
                }
    for group, settings in zip(live.groups, snapshot.param_groups, strict=True):
        for name, value in settings.items():
            plain = decode(value, {})
            if isinstance(group.get(name), torch.Tensor):
                put(group, name, plain)
            else:
                group[name] = plain


def _restore_scheduler(
    live: Live, state: Mapping[str, Any] | None, tensors: Mapping[str, torch.Tensor]
) -> None:
    mine = None if live.scheduler is None else type(live.scheduler).__name__
    _same("the scheduler", mine, None if state is None else state["class"])
    if state is None:
        return
    found = decode(state["state"], tensors)
    if "base_lrs" in state["settings"]:
        found["base_lrs"] = [group["initial_lr"] for group in live.groups]
    if "_last_lr" in state["settings"]:
        found["_last_lr"] = [group["lr"] for group in live.groups]
    live.scheduler.load_state_dict(found)


def _placed(value: Any, parameter: torch.Tensor, on_host: bool) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.clone() if on_host else value.to(parameter.device, copy=True)


def _aliases(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    first: dict[Any, str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and first.setdefault(key, name) != name:
            aliases[name] = first[key]
    return aliases


def _config(model: Any) -> dict[str, Any]:
    """A model's configuration for exports, the same whichever version and file it came from."""
    found: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=True))
    for name in ("transformers_version", "_name_or_path"):
        found.pop(name, None)
    # These two are written into the configuration of a model whenever it is saved.
    found["architectures"] = [type(model).__name__]
    dtype = getattr(model, "dtype", None)
    return {**found, "dtype": str(dtype).removeprefix("torch.")} if dtype else found


def _same(field: str, mine: Any, theirs: Any) -> None:
    if mine != theirs:
        raise CheckpointMismatch(
            f"{field[0].upper()}{field[1:]} in the script does not fit the node: "
            f"the script has {_short(mine, theirs)}, the node {_short(theirs, mine)}.",
            safe="No training was done.",
            fix="Resume with the script that made the node, or resume another node.",
            field=field,
            expected=theirs,
            found=mine,
        )


def _short(value: Any, other: Any) -> str:
    if isinstance(value, list) and isinstance(other, list):
        only: Iterable[Any] = [item for item in value if item not in other]
        text = ", ".join(str(item) for item in only)
        return f"{len(value)} with {text[:200]}" if text else f"{len(value)}"
    return repr(value)

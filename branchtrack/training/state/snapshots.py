"""The complete state of a training loop, captured and restored exactly.

State is what the next update depends on except settings: weights, buffers, moments, schedule
position, random generators, module flags, and whatever the loop adds. Settings (learning rates,
weight decay, clipping) travel beside it, so equal states have equal digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from branchtrack.checkpoints.tensors import decode, dtype_name, encode
from branchtrack.training import rng
from branchtrack.training.export import requirements
from branchtrack.training.ranks.models import class_name, group_rank
from branchtrack.training.settings import modules
from branchtrack.training.settings.live import Live
from branchtrack.training.state import gradients, optimizers, pieces
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.state.mismatch import must_match
from branchtrack.training.state.optimizers import parameter_names as parameter_names

#: The key of a state, as one rank resumes it, that was trained with fewer ranks.
NEW_RANK = "new_rank"
#: Parts of a configuration that record what saved it, and are written at each save.
_OF_CLASSES = ("architectures", "dtype", "model_type")


@dataclass
class Snapshot:
    """A captured state: host tensors by name, JSON, and the optimizer's group settings.

    ``layouts`` says of sharded tensors which rows this rank holds. Of a state that was read back
    such tensors are `pieces.StoredPieces`, until `pieces.fitted` makes them what a model needs.
    """

    tensors: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    param_groups: list[dict[str, Any]] = field(default_factory=list)
    layouts: dict[str, pieces.Layout] = field(default_factory=dict)
    is_fitted: bool = False


def capture(
    live: Live,
    extra: Mapping[str, Any],
    buffers: Buffers,
    random: Mapping[str, Any] | None = None,
) -> Snapshot:
    """Return the state at this moment; ``extra`` is the loop's own (counters, position, window).

    ``random`` are states of generators to take instead of this process's.

    Raises:
        CheckpointMismatch: something in it cannot be stored without pickle.
    """
    stored = live.model.state_dict()
    layouts: dict[str, pieces.Layout] = {}
    model = {f"model/{name}": t for name, t in model_tensors(live.model, stored).items()}
    model = pieces.apart(model, layouts)
    for name, tensor in model.items():
        dtype_name(name, tensor)
    state: dict[str, Any] = {}
    settings: list[dict[str, Any]] = []

    def rest() -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {}
        state["optimizer"] = optimizers.state_of(live, tensors)
        state["scheduler"] = optimizers.schedule_of(live, tensors)
        state["rng"] = encode(random or rng.capture(), "rng", tensors)
        state["modules"] = _module_flags(live.model)
        state["loop"] = encode(dict(extra), "loop", tensors)
        tensors.update(gradients.pending(live.model))
        attribute_state = live.attributes.state() if live.attributes is not None else {}
        if attribute_state:
            state["attributes"] = encode(attribute_state, "attributes", tensors)
        settings.extend(optimizers.group_settings(live))
        if hasattr(getattr(live.model, "config", None), "to_json_string"):
            state["model_config"] = model_config(live.model)
        what, files = requirements.of(live.model, live.processor)
        tensors.update(files)
        left_out = requirements.transient(live.model, stored)
        state.update({requirements.KEY: what} if what else {})
        state.update({requirements.TRANSIENT: left_out} if left_out else {})
        return pieces.apart(tensors, layouts)

    copied = buffers.copy(model, rest)
    if buffers.aliases:
        state["aliases"] = buffers.aliases
    return Snapshot(copied, state, settings, layouts)


def restore(live: Live, snapshot: Snapshot) -> dict[str, Any]:
    """Put a state back into live objects, with the settings it had; return the loop's part.

    Random generators and gradients are left alone: the loop restores them at its own moment
    (`random_state`, `restore_gradients`).

    Raises:
        CheckpointMismatch: the model, optimizer or scheduler is of another shape.
    """
    tensors, state = fit(live.model, snapshot), snapshot.state
    requirements.adopt(live.model, state, tensors)
    give_weights(live.model, snapshot)
    _restore_flags(live.model, state["modules"])
    optimizers.restore(live, state["optimizer"], tensors, snapshot.param_groups)
    optimizers.restore_schedule(live, state["scheduler"], tensors)
    return loop_state(snapshot)


def fit(model: torch.nn.Module, snapshot: Snapshot) -> dict[str, torch.Tensor]:
    """Make a snapshot's tensors what a model needs, once; see `pieces.fitted`."""
    if not snapshot.is_fitted:
        snapshot.tensors = pieces.fitted(snapshot.tensors, model)
        snapshot.is_fitted = True
    return snapshot.tensors


def loop_state(snapshot: Snapshot) -> dict[str, Any]:
    """Return the part of a state that the loop itself added."""
    loop: dict[str, Any] = decode(snapshot.state["loop"], snapshot.tensors)
    return loop


def attributes(snapshot: Snapshot) -> dict[str, Any]:
    """Return what objects kept in attributes of their own, as `Attributes.restore` takes it."""
    stored: dict[str, Any] = decode(snapshot.state.get("attributes", {}), snapshot.tensors)
    return stored


def restore_whole_model(model: torch.nn.Module, snapshot: Snapshot) -> None:
    """Restore weights, buffers, the modules' flags and the configuration.

    Models note things in their configuration as they are trained.

    Raises:
        CheckpointMismatch: the model is of another shape.
    """
    fit(model, snapshot)
    give_weights(model, snapshot)
    _restore_flags(model, snapshot.state["modules"])
    restore_config(model, snapshot)


def restore_config(model: Any, snapshot: Snapshot) -> None:
    """Restore the plain values of a model's configuration."""
    stored: Mapping[str, Any] = snapshot.state.get("model_config") or {}
    current = model_config(model) if stored and hasattr(model, "config") else {}
    for name, value in stored.items() if current else ():
        if name not in _OF_CLASSES and not isinstance(value, dict) and current.get(name) != value:
            setattr(model.config, name, value)


def restore_gradients(live: Live, snapshot: Snapshot) -> None:
    """Restore every parameter's gradient, or its absence: those of an unfinished update.

    Raises:
        CheckpointMismatch: a gradient of a parameter that the model does not have.
    """
    gradients.restore(live.model, fit(live.model, snapshot))


def random_state(snapshot: Snapshot, seed: int | None = None) -> dict[str, Any]:
    """Return the state of every random generator, as `rng.restore` takes it.

    With a ``seed`` it is the state of generators that are seeded with it; they are seeded, too.
    """
    if seed is not None:
        rng.seed_all(seed + group_rank())
        return rng.capture()
    states: dict[str, Any] = decode(snapshot.state["rng"], snapshot.tensors)
    if NEW_RANK in snapshot.state:
        # What it draws must be another's than rank 0's, and the same each time.
        with rng.preserved():
            rng.restore(states)
            rng.seed(int(torch.randint(2**62, ())), snapshot.state[NEW_RANK])
            return rng.capture()
    return states


def model_tensors(
    model: torch.nn.Module, stored: Mapping[str, Any] | None = None
) -> dict[str, torch.Tensor]:
    """Return parameters and all buffers of a model by name; ``stored`` is its ``state_dict()``."""
    stored = model.state_dict() if stored is None else stored
    tensors = {name: value for name, value in stored.items() if isinstance(value, torch.Tensor)}
    # Buffers that state_dict leaves out may be changed by forward passes all the same.
    tensors.update({name: value for name, value in model.named_buffers() if name not in tensors})
    return tensors


def _module_flags(model: torch.nn.Module) -> dict[str, Any]:
    dropout = {name: float(module.p) for name, module in modules.dropouts(model).items()}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    return {"frozen": frozen, "dropout": dropout}


def _restore_flags(model: torch.nn.Module, flags: Mapping[str, Any]) -> None:
    frozen = set(flags["frozen"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    dropouts = modules.dropouts(model)
    for name, p in flags["dropout"].items():
        if name in dropouts:
            dropouts[name].p = p


def give_weights(model: torch.nn.Module, snapshot: Snapshot) -> None:
    """Put a snapshot's weights and buffers into a model.

    Raises:
        CheckpointMismatch: the model is of another shape.
    """
    tensors = snapshot.tensors
    current = model_tensors(model)
    recorded = {
        name.removeprefix("model/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("model/")
    }
    must_match("the model's tensors", sorted(current), sorted(recorded))
    for name, tensor in current.items():
        must_match(f"the shape of {name}", tuple(tensor.shape), tuple(recorded[name].shape))
        must_match(f"the dtype of {name}", str(tensor.dtype), str(recorded[name].dtype))
    with torch.no_grad():
        for name, tensor in current.items():
            tensor.copy_(recorded[name])


def model_config(model: Any) -> dict[str, Any]:
    """Return a model's configuration for exports, independent of the version and file."""
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=True))
    for name in ("transformers_version", "_name_or_path"):
        config.pop(name, None)
    # These two are written into the configuration of a model whenever it is saved.
    config["architectures"] = [class_name(model)]
    dtype = getattr(model, "dtype", None)
    return {**config, "dtype": str(dtype).removeprefix("torch.")} if dtype else config

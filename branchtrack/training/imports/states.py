"""The state of a node made from the contents of a checkpoint folder, in its canonical form.

It is the form in which a training of the same model commits its own nodes, so that an equal state
has equal tensors, whichever way it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers.trainer_callback import TrainerState

from branchtrack.checkpoints.export import STATE_FILE, TRAINING_FILE
from branchtrack.training import rng
from branchtrack.training.export.requirements import FILES
from branchtrack.training.imports import exports, models, optimizers
from branchtrack.training.imports.folder import OPTIMIZER, Contents, refused
from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live
from branchtrack.training.state import snapshots
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.state.snapshots import Snapshot
from branchtrack.training.trainer.state import NOT_STATE

#: Counters of a Trainer that are settings of a node.
_SETTINGS = {
    "max_steps": "max_steps",
    "train_batch_size": "batch_size",
    "logging_steps": "logging_steps",
    "eval_steps": "eval_steps",
    "save_steps": "save_steps",
}


@dataclass(frozen=True)
class State:
    """A node's state, its settings, and whether a training can be continued exactly from it."""

    snapshot: Snapshot
    settings: dict[str, Any]
    is_complete: bool


def of(contents: Contents) -> State:
    """Return the state that a node gets.

    Raises:
        InvalidInput: the parts of the folder do not fit each other.
    """
    try:
        model = models.build(contents.path, contents.config, contents.weights)
    except models.UnknownModel as error:
        if contents.is_complete:
            raise refused(
                contents.path,
                f"optimizer.pt: its tensors cannot be assigned to parameters: {error}.",
                "a model of transformers, or --weights-only to import the weights alone",
            ) from error
        return _bare(contents, {f"model/{n}": t for n, t in contents.weights.items()})
    state = _whole(contents, model) if contents.is_complete else _of_weights(contents, model)
    state.snapshot.tensors.update(
        (f"{FILES}/{name}", torch.frombuffer(bytearray(data), dtype=torch.uint8))
        for name, data in (contents.processor.items() if contents.is_complete else ())
    )
    return state


def _whole(contents: Contents, model: Any) -> State:
    optimizer = optimizers.rebuild(contents.path, model, contents.optimizer or {})
    schedule = optimizers.schedule(contents.path, contents.scheduler or {})
    decayed = [bool(group.get("weight_decay")) for group in optimizer.param_groups]
    counted = {
        setting: contents.counters[name]
        for name, setting in _SETTINGS.items()
        if type(contents.counters.get(name)) is int and contents.counters[name] > 0
    }
    live = Live(model, optimizer, None, SimpleNamespace(), decayed)
    settings = {**counted, **apply.read_all(live)}
    try:
        snapshot = snapshots.capture(
            replace(live, scheduler=schedule), _loop(contents), Buffers(), _random(contents)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise refused(contents.path, f"Its parts do not fit each other: {error}.") from error
    snapshot.state["optimizer"]["host"] = _on_host(contents, optimizer, model)
    if contents.exported is not None and not exports.take(snapshot, contents.exported):
        why = f"it is not of the same state as {OPTIMIZER}"
        contents.left_out |= {STATE_FILE: why, TRAINING_FILE: why}
    return State(snapshot, settings, is_complete=True)


def _of_weights(contents: Contents, model: Any) -> State:
    """Return the weights of a known model, with its buffers and its configuration."""
    unused = torch.optim.SGD(model.parameters(), lr=0.0)
    captured = snapshots.capture(
        Live(model, unused, None, SimpleNamespace(), [True]), {}, Buffers()
    )
    tensors = {n: t for n, t in captured.tensors.items() if n.startswith("model/")}
    names = ("modules", "model_config", "aliases", "transient")
    return _bare(contents, tensors, {n: captured.state[n] for n in names if n in captured.state})


def _bare(
    contents: Contents, tensors: dict[str, torch.Tensor], parts: Mapping[str, Any] | None = None
) -> State:
    state = {"loop": {}, "modules": {"frozen": [], "dropout": {}}, **(parts or {})}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return State(Snapshot(contiguous, state), {}, is_complete=False)


def _loop(contents: Contents) -> dict[str, Any]:
    """Return the state of a Trainer's loop; it counts its data's position from the updates."""
    counters = contents.counters
    stored = counters.get("stateful_callbacks") or {}
    callbacks: dict[str, list[Any]] = {}
    for name, state in stored.items() if isinstance(stored, dict) else ():
        if name != "TrainerControl":
            parts = state if isinstance(state, list) else [state]
            callbacks[name] = [part.get("attributes", {}) for part in parts]
    return {
        "trainer": {
            field.name: counters[field.name]
            for field in fields(TrainerState)
            if field.name not in NOT_STATE and field.name in counters
        },
        # A Trainer's own checkpoints lack the losses since it last logged.
        "window": {
            "loss": torch.tensor(0.0),
            "last_logged": contents.step,
            "total": 0.0,
            "first_step": contents.step,
        },
        "callbacks": callbacks,
        "data": {},
        "scaler": contents.scaler,
    }


def _random(contents: Contents) -> dict[str, Any]:
    """Return states of generators as `rng.capture` does, checked by setting them once."""
    stored = contents.random or {}
    try:
        version, keys, gauss = stored["python"]
        kind, state, position, has_gauss, cached = stored["numpy"]
        states: dict[str, Any] = {
            "python": {"version": version, "keys": np.array(keys, np.uint32), "gauss": gauss},
            "numpy": {
                "kind": kind,
                "keys": np.array(state, np.uint32),
                "position": int(position),
                "has_gauss": int(has_gauss),
                "cached": float(cached),
            },
            "torch": stored["cpu"],
        }
        with rng.preserved():
            rng.restore(states)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise refused(
            contents.path, f"rng_state.pth does not hold the states of generators: {error}."
        ) from error
    devices = stored.get("cuda")
    if devices is not None:
        several = devices if isinstance(devices, (list, tuple)) else [devices]
        states["cuda"] = {str(number): state for number, state in enumerate(several)}
    return states


def _on_host(contents: Contents, optimizer: Any, model: torch.nn.Module) -> list[str]:
    """Return the moments that were on the host while others were on a device."""
    tensors = [
        (f"{name}/{key}", value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    ]
    on_host = [
        name for name, value in tensors if value.untyped_storage().data_ptr() in contents.on_host
    ]
    return on_host if len(on_host) < len(tensors) else []

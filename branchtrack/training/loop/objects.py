"""The objects that the author of a plain loop passes, checked before anything is trained.

It knows no session and no state: what is refused here could not be restored later.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

from branchtrack.checkpoints.tensors import encode
from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.attributes.slots import OF_EVERY_DATA_SET, OF_EVERY_OPTIMIZER
from branchtrack.training.attributes.values import has_protocol
from branchtrack.training.loop.data import is_plain
from branchtrack.training.ranks.models import unwrapped
from branchtrack.training.settings import apply
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.dataset_settings import DataSettings, marks
from branchtrack.training.settings.live import Live, number

#: Names that have another meaning in a record of the script.
_TAKEN = ("scheduler", "settings", "model")


def live_objects(model: Any, optimizer: Any, scheduler: Any, settings: Mapping[str, Any]) -> Live:
    """Return the live objects of a loop; several models become one with them as named parts.

    Raises:
        InvalidInput: naming the argument that cannot be used, and why.
    """
    if isinstance(model, Mapping):
        model = torch.nn.ModuleDict({name: unwrapped(part) for name, part in model.items()})
    model = unwrapped(model)
    if not isinstance(model, torch.nn.Module):
        raise InvalidInput("model", model, "a torch.nn.Module, or a dict of them by name")
    optimizer, scheduler = bare(optimizer, "optimizer"), bare(scheduler, "scheduler")
    optimizers = optimizer if isinstance(optimizer, dict) else {"": optimizer}
    for name, candidate in optimizers.items():
        if not isinstance(candidate, torch.optim.Optimizer) or "." in name or name in _TAKEN:
            raise InvalidInput("optimizer", optimizer, "an optimizer of torch, or some by name")
    _check_schedulers(optimizer, scheduler)
    _check_parameters(model, optimizers)
    decayed = [flag for name in sorted(optimizers) for flag in _decayed(optimizers[name])]
    live = Live(model, optimizer, scheduler, SimpleNamespace(), decayed)
    taken = {setting.name for setting in apply.declare(live)}
    live.values = Values(settings)
    for name in live.values:
        if name in taken:
            raise InvalidInput(
                "settings",
                name,
                "another name",
                what=f"{name} is a setting already, of the optimizer or the model.",
            )
    return live


def free(data: DataSettings, live: Live) -> DataSettings:
    """Return the settings of the data if no other setting has their names.

    Raises:
        InvalidInput: naming one that the optimizer, the model or the loop has.
    """
    for name in data.declared.keys() & {setting.name for setting in apply.declare(live)}:
        raise InvalidInput(
            "declare", name, "another name", what=f"{name} is a setting of this loop already."
        )
    return data


def check_objects(objects: Mapping[str, Any]) -> None:
    """Check that the state of every extra object can be stored.

    Raises:
        InvalidInput: naming the object and the key within its state.
    """
    for name, instance in objects.items():
        if not all(
            callable(getattr(instance, way, None)) for way in ("state_dict", "load_state_dict")
        ):
            raise InvalidInput(
                f"objects[{name!r}]", instance, "what has state_dict and load_state_dict"
            )
        try:
            encode(instance.state_dict(), name, {})
        except CheckpointMismatch as error:
            raise InvalidInput(
                f"objects[{name!r}]",
                error.facts["found"],
                "tensors, arrays, numbers, text, None, and dicts, lists, tuples and sets of these",
                what=f"The state of the object {name!r} cannot be stored: {error.what}",
            ) from error


def untested(live: Live, data: Any, objects: Mapping[str, Any]) -> list[str]:
    """Return descriptions of what a loop has that the project's tests do not cover."""
    descriptions = [
        f"{what} {type(instance).__name__}, which is not torch's"
        for optimizer_objects in live.parts.values()
        for what, instance in (
            ("the optimizer", optimizer_objects.optimizer),
            ("the scheduler", optimizer_objects.scheduler),
        )
        if instance is not None and not type(instance).__module__.startswith("torch.optim")
    ]
    if data is not None and not is_plain(data):
        descriptions.append("data that is not a DataLoader of torch's")
    return descriptions + [f"the state of the object {name!r}" for name in sorted(objects)]


def attributes_of(
    live: Live, owners: Mapping[str, Any], data: Any, objects: Mapping[str, Any]
) -> Attributes:
    """Return what optimizers, ``owners`` and the dataset keep in attributes of their own."""
    optimizers = {
        f"optimizer.{prefix}" if prefix else "optimizer": optimizer_objects.optimizer
        for prefix, optimizer_objects in live.parts.items()
    }
    rows = getattr(data, "dataset", data)
    is_stored = any(rows is value for value in objects.values()) or has_protocol(rows)
    ignored = {
        **dict.fromkeys(optimizers, OF_EVERY_OPTIMIZER),
        "data": OF_EVERY_DATA_SET | marks(rows).keys(),
    }
    ahead = {} if is_stored or rows is None else {"data": rows}
    return Attributes({**owners, **optimizers}, live.model, ignored, ahead=ahead)


def bare(wrapped: Any, name: str) -> Any:
    """Return what accelerate has wrapped, for each value of a dict; anything else as it is."""
    if isinstance(wrapped, dict):
        return {key: bare(element, name) for key, element in wrapped.items()}
    return getattr(wrapped, name) if type(wrapped).__module__.startswith("accelerate.") else wrapped


def _check_schedulers(optimizer: Any, scheduler: Any) -> None:
    allowed = "None, or a dict of schedulers by the names of their optimizers"
    if isinstance(optimizer, dict) and not isinstance(scheduler, Mapping | None):
        raise InvalidInput("scheduler", scheduler, allowed)
    if isinstance(optimizer, dict):
        pairs = [(optimizer.get(name), candidate) for name, candidate in (scheduler or {}).items()]
    else:
        pairs = [] if scheduler is None else [(optimizer, scheduler)]
        allowed = "None, or a scheduler of the optimizer"
    for its, candidate in pairs:
        if its is None or getattr(candidate, "optimizer", its) is not its:
            raise InvalidInput("scheduler", scheduler, allowed)


def _check_parameters(model: torch.nn.Module, optimizers: Mapping[str, Any]) -> None:
    parameter_ids = {id(parameter) for parameter in model.parameters()}
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            if any(id(parameter) not in parameter_ids for parameter in group["params"]):
                raise InvalidInput(
                    "model",
                    type(model).__name__,
                    "a model, or a dict of models, that has them all",
                    what="An optimizer has parameters that are not the model's, so that nodes "
                    "would lack them.",
                )


def _decayed(optimizer: torch.optim.Optimizer) -> list[bool]:
    flags = [bool(number(group.get("weight_decay", 0.0))) for group in optimizer.param_groups]
    return flags if any(flags) else [True] * len(flags)

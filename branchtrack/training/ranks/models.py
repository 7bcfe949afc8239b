"""Models as several processes wrap them, and the plain model within."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

#: What ``fully_shard`` puts before the name of a model's class.
SHARDED = "FSDP"


@dataclass(frozen=True)
class Replica:
    """A replicated model: whether its wrapper finds parameters that an update does not use, and the
    ids of the parameters that it averages.
    """

    finds_unused: bool
    averaged: frozenset[int]


_replicas: weakref.WeakKeyDictionary[torch.nn.Module, Replica] = weakref.WeakKeyDictionary()


def group_rank() -> int:
    """Return the rank of this process in torch's process group; 0 if it is on its own."""
    return torch.distributed.get_rank() if group_size() is not None else 0


def group_size() -> int | None:
    """Return the size of torch's process group, which may be 1; None if there is none."""
    distributed = torch.distributed
    grouped = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if grouped else None


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model that a DistributedDataParallel replicates; any other as it is.

    What the wrapper can do is remembered, see `replicas`.
    """
    while isinstance(model, DistributedDataParallel):
        wrapper, model = model, model.module
        if model not in _replicas:
            averaged = frozenset(id(p) for p in model.parameters() if p.requires_grad)
            _replicas[model] = Replica(wrapper.find_unused_parameters, averaged)
    return model


def replicas(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, Replica]]:
    """Yield the replicated models that a model is, or has as its parts."""
    for candidate in (model, *model.children()) if _replicas else ():
        if candidate in _replicas:
            yield candidate, _replicas[candidate]


def is_sharded(module: torch.nn.Module) -> bool:
    """Return whether ``fully_shard`` has given a module a class of its own."""
    kinds = type(module).__mro__
    return kinds[1].__name__ == "FSDPModule" and kinds[0].__name__.startswith(SHARDED)


def class_name(module: torch.nn.Module) -> str:
    """Return the name of a module's own class: sharding it makes another of the same kind."""
    name = type(module).__name__
    return name.removeprefix(SHARDED) if is_sharded(module) else name

"""Models as several processes wrap them, and the plain model within."""

from __future__ import annotations

import torch
from torch.nn.parallel import DistributedDataParallel

#: What ``fully_shard`` puts before the name of a model's class.
SHARDED = "FSDP"


def group_rank() -> int:
    """Return the rank of this process in torch's process group; 0 if it is on its own."""
    return torch.distributed.get_rank() if group_size() is not None else 0


def group_size() -> int | None:
    """Return the size of torch's process group, which may be 1; None if there is none."""
    distributed = torch.distributed
    grouped = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if grouped else None


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model that a DistributedDataParallel replicates; any other as it is."""
    while isinstance(model, DistributedDataParallel):
        model = model.module
    return model


def is_sharded(module: torch.nn.Module) -> bool:
    """Return whether ``fully_shard`` has given a module a class of its own."""
    kinds = type(module).__mro__
    return kinds[1].__name__ == "FSDPModule" and kinds[0].__name__.startswith(SHARDED)


def class_name(module: torch.nn.Module) -> str:
    """Return the name of a module's own class: sharding it makes another of the same kind."""
    name = type(module).__name__
    return name.removeprefix(SHARDED) if is_sharded(module) else name

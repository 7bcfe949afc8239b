"""Tensors of which each rank holds rows: taken apart for a snapshot, put together for a model.

A model that was sharded by ``torch.distributed.fsdp.fully_shard`` has DTensors in place of
parameters, and so have its moments. A snapshot holds the local rows and where they lie; a restore
gives each model what it has room for, whole or in other pieces.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from branchtrack.errors import CheckpointMismatch


@dataclass(frozen=True)
class Layout:
    """The whole shape of a tensor, and the first of the rows that this rank holds."""

    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class StoredPieces:
    """A whole tensor in pieces in the store; ``read`` returns its rows from one to another."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[int, int], torch.Tensor]


Stored = torch.Tensor | StoredPieces


def is_sharded(tensor: Any) -> bool:
    """Return whether it is a DTensor; torch's module for them is not loaded for the answer."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a tensor: all of it, unless it is sharded."""
    sharded: Any = tensor
    return sharded.to_local() if is_sharded(tensor) else tensor


def apart(
    tensors: Mapping[str, torch.Tensor], layouts: dict[str, Layout]
) -> dict[str, torch.Tensor]:
    """Return the local rows of each tensor; where sharded ones lie is added to ``layouts``.

    Raises:
        CheckpointMismatch: a tensor is sharded in a way whose pieces are not rows.
    """
    held: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if not is_sharded(tensor):
            held[name] = tensor
            continue
        layout, is_first = _layout(name, tensor)
        if layout is None:
            # Every rank holds all of it.
            held[name] = local(tensor)
        elif is_first:
            held[name], layouts[name] = local(tensor), layout
    return held


def fitted(stored: Mapping[str, Any], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return stored tensors as a model needs them: in its own pieces where it is sharded.

    Those named after a parameter of the model, its moments and gradients among them, follow that
    parameter; others are whole.
    """
    parameters = {n: p for n, p in model.state_dict().items() if isinstance(p, torch.Tensor)}
    if not any(map(is_sharded, parameters.values())):
        return {name: whole(tensor) for name, tensor in stored.items()}
    return {name: _like(t, _parameter(name, parameters)) for name, t in stored.items()}


def whole(tensor: Stored) -> torch.Tensor:
    """Return a stored tensor in one piece."""
    return tensor if isinstance(tensor, torch.Tensor) else tensor.read(0, tensor.shape[0])


def _parameter(name: str, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """Return the parameter that a tensor of a state belongs to, by its name."""
    role, _, rest = name.partition("/")
    if role == "optimizer":
        # optimizer/[name of the optimizer/]parameter/moment
        rest = rest.rpartition("/")[0].rpartition("/")[2]
    return parameters.get(rest)


def _like(stored: Stored, target: torch.Tensor | None) -> torch.Tensor:
    if target is None or not is_sharded(target) or tuple(stored.shape) != tuple(target.shape):
        return whole(stored)
    from torch.distributed.tensor import DTensor

    layout, _ = _layout("", target)
    start = 0 if layout is None else layout.start
    end = start + local(target).shape[0]
    rows = stored[start:end] if isinstance(stored, torch.Tensor) else stored.read(start, end)
    sharded: Any = target
    return DTensor.from_local(
        rows.to(local(target).device),
        sharded.device_mesh,
        sharded.placements,
        run_check=False,
        shape=sharded.shape,
        stride=sharded.stride(),
    )


def _layout(name: str, tensor: Any) -> tuple[Layout | None, bool]:
    """Return where the local rows of a DTensor lie, None if they are all, and whether this rank is
    the first of those that hold them.
    """
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    mesh, placements = tensor.device_mesh, tensor.placements
    coordinates = mesh.get_coordinate()
    is_first = all(
        position == 0
        for position, placement in zip(coordinates, placements, strict=True)
        if isinstance(placement, Replicate)
    )
    sharding = [placement for placement in placements if not isinstance(placement, Replicate)]
    if not sharding:
        return None, is_first
    is_by_rows = len(sharding) == 1 and type(sharding[0]) is Shard and sharding[0].dim == 0
    if not is_by_rows:
        raise CheckpointMismatch(
            f"{name} is sharded as {placements}, and only rows (Shard(0)) can be stored.",
            safe="Training continues; no node was committed.",
            fix="Shard along dimension 0, as fully_shard does by itself.",
            field=name,
            expected="Shard(0)",
            found=str(placements),
        )
    _, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, placements)
    return Layout(tuple(tensor.shape), int(offset[0])), is_first

"""What each rank adds to the state of a training with several: its share.

Rank 0 has what all have in common. The others add their pieces of sharded tensors, and what is
theirs alone, under ``ranks/<rank>/``: random generators, position in the data, what loop and
objects keep, buffers, gradients that wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from branchtrack.checkpoints.tensors import encode
from branchtrack.training import rng
from branchtrack.training.settings.live import Live
from branchtrack.training.state import gradients, optimizers, pieces, snapshots
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.state.snapshots import Snapshot

#: The key of a state that holds what the other ranks add, and how many ranks there are.
KEY = "ranks"
#: Parts of a state that each rank has of its own.
_OWN = ("rng", "loop", "attributes")


def capture(live: Live, extra: Mapping[str, Any], buffers: Buffers, rank: int) -> Snapshot:
    """Return the share of a rank other than the first; ``extra`` as for `snapshots.capture`.

    Raises:
        CheckpointMismatch: something in it cannot be stored without pickle.
    """
    prefix = f"{KEY}/{rank}/"
    layouts: dict[str, pieces.Layout] = {}
    state: dict[str, Any] = {}
    own_model: dict[str, torch.Tensor] = {}
    sharded: dict[str, torch.Tensor] = {}
    parameters = {name for name, _ in live.model.named_parameters()}
    for name, tensor in snapshots.model_tensors(live.model).items():
        if pieces.is_sharded(tensor):
            sharded[f"model/{name}"] = tensor
        elif name not in parameters:
            own_model[f"{prefix}model/{name}"] = tensor

    def rest() -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {}
        moments: dict[str, torch.Tensor] = {}
        optimizers.state_of(live, moments)
        waiting = gradients.pending(live.model)
        both = {**moments, **waiting}
        tensors.update({name: t for name, t in both.items() if pieces.is_sharded(t)})
        tensors.update(
            {f"{prefix}{name}": t for name, t in waiting.items() if not pieces.is_sharded(t)}
        )
        state["rng"] = encode(rng.capture(), f"{prefix}rng", tensors)
        state["loop"] = encode(dict(extra), f"{prefix}loop", tensors)
        attributes = live.attributes.state() if live.attributes is not None else {}
        if attributes:
            state["attributes"] = encode(attributes, f"{prefix}attributes", tensors)
        return pieces.apart(tensors, layouts)

    copied = buffers.copy({**pieces.apart(sharded, layouts), **own_model}, rest)
    if buffers.aliases:
        state["aliases"] = buffers.aliases
    return Snapshot(copied, state, [], layouts)


def is_of_another(name: str, rank: int) -> bool:
    """Return whether a stored tensor belongs to another rank alone."""
    role, _, rest = name.partition("/")
    return role == KEY and rest.partition("/")[0] != str(rank)


def of_rank(snapshot: Snapshot, rank: int) -> Snapshot:
    """Return a state as a rank resumes it: with its own share in place of rank 0's.

    A rank that the state's training did not have gets what rank 0 had.
    """
    share = snapshot.state.get(KEY, {}).get(str(rank))
    if KEY not in snapshot.state and not rank:
        return snapshot
    state = {name: value for name, value in snapshot.state.items() if name != KEY}
    prefix = f"{KEY}/{rank}/"
    tensors = dict(snapshot.tensors)
    if share is None and rank:
        state[snapshots.NEW_RANK] = rank
    if share is not None:
        state = {**state, **{name: share[name] for name in _OWN if name in share}}
        if "attributes" not in share:
            state.pop("attributes", None)
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        for name, tensor in own.items():
            if name.startswith(("model/", "grad/")):
                tensors[name] = tensor
    return Snapshot(tensors, state, snapshot.param_groups, snapshot.layouts)

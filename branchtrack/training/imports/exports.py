"""What branchtrack's own exports hold beyond a stock Trainer's files, taken back into the state.

That is the exact position in the data, the open logging window and what objects kept in attributes.
It is used only if it belongs to the same state bit for bit: another training may have gone on in
the folder.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from branchtrack.checkpoints.export import STATE_FILE, TRAINING_FILE
from branchtrack.checkpoints.tensors import decode
from branchtrack.training.state.snapshots import Snapshot

#: What the files of torch hold, too.
_SHARED = ("optimizer/", "scheduler/", "rng/")
_OWN = ("loop", "attributes")


def read(path: Path, names: Collection[str]) -> Snapshot | None:
    """Return what an export holds; None if the folder is none, or it cannot be read."""
    if not {STATE_FILE, TRAINING_FILE} <= set(names):
        return None
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        tensors = load_file(path / TRAINING_FILE)
        counters = decode({part: state[part] for part in _OWN if part in state}, tensors)["loop"]
        counters["trainer"]["global_step"], counters["window"]["total"], counters["data"]
    except (OSError, ValueError, LookupError, TypeError, SafetensorError, RecursionError):
        return None
    return Snapshot(tensors, state)


def take(snapshot: Snapshot, exported: Snapshot) -> bool:
    """Complete a snapshot with what an export holds; return False if it is of another state."""
    now, before = (s.state["loop"]["trainer"]["global_step"] for s in (snapshot, exported))
    shared = [name for name in snapshot.tensors if name.startswith(_SHARED)]
    if now != before or not all(_same(name, snapshot, exported) for name in shared):
        return False
    prefixes = tuple(f"{part}/" for part in _OWN)
    for name in [name for name in snapshot.tensors if name.startswith(prefixes)]:
        del snapshot.tensors[name]
    # Buffers that a model's own checkpoints leave out are among them.
    known = {name for name in exported.tensors if name in snapshot.tensors} - set(shared)
    for name, tensor in exported.tensors.items():
        if name.startswith(prefixes) or name in known:
            snapshot.tensors[name] = tensor
    snapshot.state.update({part: exported.state[part] for part in _OWN if part in exported.state})
    return True


def _same(name: str, a: Snapshot, b: Snapshot) -> bool:
    one, other = a.tensors[name], b.tensors.get(name)
    if other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(_bits(one), _bits(other))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)

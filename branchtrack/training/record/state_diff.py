"""The first difference of a captured state from a node's, and how far apart they are.

It decides nothing about what a difference means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.tensors import from_bytes
from branchtrack.core.nonfinite import packed
from branchtrack.core.records import Node, StoredCheckpoint
from branchtrack.training.record.commits import Digested

#: Stands for what is not there, where None is a possible value.
_MISSING = object()


def first(
    store: Store,
    stored: StoredCheckpoint,
    node: Node,
    digested: Digested,
    settings: Mapping[str, Any],
    groups: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """Return the first difference of a second training's state from the node's, or None.

    Tensors come first, in the manifest's order, then the values of the state by path, then the
    settings, which no digest covers.

    Raises:
        CheckpointMissing, CheckpointDamaged: the node's bytes of the tensor that differs.
    """
    expected, (actual, tensors) = Manifest.from_json(stored.manifest), digested
    differing = _differing(expected, actual)
    if differing:
        name, recorded, replayed = differing[0]
        difference = {
            "name": name,
            "kind": "tensor",
            "tensors_differing": len(differing),
            "expected": recorded.digest if recorded else None,
            "found": replayed.digest if replayed else None,
        }
        if (
            recorded
            and replayed
            and (recorded.dtype, recorded.shape) == (replayed.dtype, replayed.shape)
            # What another rank holds is not here.
            and replayed.digest in tensors
        ):
            difference |= _apart(store, stored, recorded, tensors[replayed.digest])
        return difference
    for kind, pair in (
        ("state", (expected.state, actual.state)),
        ("settings", (node.settings, dict(settings))),
        ("settings", ({"param_groups": node.param_groups}, {"param_groups": groups})),
    ):
        for path, recorded, replayed in _values("", *map(_as_json, pair)):
            return {"name": path, "kind": kind, "expected": recorded, "found": replayed}
    return None


def _differing(
    expected: Manifest, actual: Manifest
) -> list[tuple[str, Entry | None, Entry | None]]:
    recorded = {entry.name: entry for entry in expected.entries}
    replayed = {entry.name: entry for entry in actual.entries}
    return [
        (name, recorded.get(name), replayed.get(name))
        for name in [*recorded, *(name for name in replayed if name not in recorded)]
        if name not in recorded
        or name not in replayed
        or recorded[name].digest != replayed[name].digest
    ]


def _apart(store: Store, stored: StoredCheckpoint, entry: Entry, other: TensorBytes) -> Any:
    """Return the index of the first element that differs, and the largest absolute difference."""
    content = store.read(stored.locations[entry.digest])
    raw = [torch.frombuffer(bytearray(item), dtype=torch.uint8) for item in (content, other.data)]
    count = max(1, from_bytes(entry.dtype, entry.shape, content).numel())
    unequal = (raw[0].reshape(count, -1) != raw[1].reshape(count, -1)).any(1)
    position = int(unequal.to(torch.uint8).argmax())
    index = [int(item) for item in torch.unravel_index(torch.tensor(position), entry.shape or (1,))]
    a, b = (from_bytes(entry.dtype, entry.shape, item) for item in (content, bytearray(other.data)))
    wide = torch.complex128 if a.is_complex() else torch.float64
    apart = (a.to(wide) - b.to(wide)).abs()
    finite = apart[torch.isfinite(apart)]
    return {
        "index": index,
        "elements_differing": int(unequal.sum()),
        "largest": float(finite.max()) if finite.numel() else None,
    }


def _values(path: str, recorded: Any, replayed: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield each value that differs, by its path, in the order of keys."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        for key in [*recorded, *(key for key in replayed if key not in recorded)]:
            subpath = f"{path}/{key}" if path else key
            yield from _values(subpath, recorded.get(key, _MISSING), replayed.get(key, _MISSING))
    elif (
        isinstance(recorded, list) and isinstance(replayed, list) and len(recorded) == len(replayed)
    ):
        for position, pair in enumerate(zip(recorded, replayed, strict=True)):
            yield from _values(f"{path}[{position}]", *pair)
    elif _MISSING in (recorded, replayed) or json.dumps(recorded) != json.dumps(replayed):
        yield path, _known(recorded), _known(replayed)


def _known(value: Any) -> Any:
    return None if value is _MISSING else value


def _as_json(value: Any) -> Any:
    """Return a value as the database would return it."""
    return json.loads(json.dumps(packed(value)))

"""The first thing in which a captured state differs from a node's, and how far apart they are.

Nothing is decided here about what a difference means.
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

#: Stands for what is not there, where None is a value that may be.
_MISSING = object()


def first(
    store: Store,
    stored: StoredCheckpoint,
    node: Node,
    digested: Digested,
    settings: Mapping[str, Any],
    groups: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """The first difference of a second training's state from the node's, or None.

    Tensors come first, in the manifest's order, then the values of the state by path, then the
    settings, which no digest covers.

    Raises:
        CheckpointMissing, CheckpointDamaged: the node's bytes of the tensor that differs.
    """
    expected, (found, tensors) = Manifest.from_json(stored.manifest), digested
    differing = _differing(expected, found)
    if differing:
        name, mine, theirs = differing[0]
        told = {
            "name": name,
            "kind": "tensor",
            "tensors_differing": len(differing),
            "expected": mine.digest if mine else None,
            "found": theirs.digest if theirs else None,
        }
        if mine and theirs and (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape):
            told |= _apart(store, stored, mine, tensors[theirs.digest])
        return told
    for kind, pair in (
        ("state", (expected.state, found.state)),
        ("settings", (node.settings, dict(settings))),
        ("settings", ({"param_groups": node.param_groups}, {"param_groups": groups})),
    ):
        for path, mine, theirs in _values("", *map(_as_json, pair)):
            return {"name": path, "kind": kind, "expected": mine, "found": theirs}
    return None


def _differing(expected: Manifest, found: Manifest) -> list[tuple[str, Entry | None, Entry | None]]:
    mine = {entry.name: entry for entry in expected.entries}
    theirs = {entry.name: entry for entry in found.entries}
    return [
        (name, mine.get(name), theirs.get(name))
        for name in [*mine, *(name for name in theirs if name not in mine)]
        if name not in mine or name not in theirs or mine[name].digest != theirs[name].digest
    ]


def _apart(store: Store, stored: StoredCheckpoint, entry: Entry, other: TensorBytes) -> Any:
    """The index of the first element that differs, and the largest absolute difference of all."""
    content = store.read(stored.locations[entry.digest])
    raw = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in (content, other.data)]
    count = max(1, from_bytes(entry.dtype, entry.shape, content).numel())
    unequal = (raw[0].reshape(count, -1) != raw[1].reshape(count, -1)).any(1)
    place = int(unequal.to(torch.uint8).argmax())
    index = [int(one) for one in torch.unravel_index(torch.tensor(place), entry.shape or (1,))]
    a, b = (from_bytes(entry.dtype, entry.shape, one) for one in (content, bytearray(other.data)))
    wide = torch.complex128 if a.is_complex() else torch.float64
    apart = (a.to(wide) - b.to(wide)).abs()
    known = apart[torch.isfinite(apart)]
    return {
        "index": index,
        "elements_differing": int(unequal.sum()),
        "largest": float(known.max()) if known.numel() else None,
    }


def _values(path: str, mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each value that differs, by its path, in the order of keys."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            part = f"{path}/{key}" if path else key
            yield from _values(part, mine.get(key, _MISSING), theirs.get(key, _MISSING))
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for place, pair in enumerate(zip(mine, theirs, strict=True)):
            yield from _values(f"{path}[{place}]", *pair)
    elif _MISSING in (mine, theirs) or json.dumps(mine) != json.dumps(theirs):
        yield path, _known(mine), _known(theirs)


def _known(value: Any) -> Any:
    return None if value is _MISSING else value


def _as_json(value: Any) -> Any:
    """As the database gives it back."""
    return json.loads(json.dumps(packed(value)))

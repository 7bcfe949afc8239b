"""Random generators that datasets, samplers and collate functions keep for themselves.

They are found by looking into the objects, and known by the path that leads to them. It knows no
loader and none of the process's own generators.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

#: As deep as objects are looked into, and as many of a list's items.
_DEPTH, _ITEMS = 4, 64
_OPAQUE = (torch.nn.Module, torch.Tensor, np.ndarray, type, str, bytes, int, float)


class Generators:
    """The generators within some objects, found by looking: some are made late."""

    def __init__(self, **owners: Any) -> None:
        self._owners = owners
        self._known: dict[str, Any] = {}

    def capture(self, *, look: bool = True) -> dict[str, Any]:
        """The state of each, by path, as plain data, arrays and tensors.

        ``look``: also of those that were made since the last look.
        """
        return {path: _state(one) for path, one in (self._look() if look else self._known).items()}

    def restore(self, states: Mapping[str, Any]) -> None:
        """Set each to a captured state; one that is not made yet is made."""
        found = self._look() if states else {}
        for path, state in states.items():
            if path in found:
                _set(found[path], state)
            else:
                self._make(path, state)

    def seed(self, *key: int) -> None:
        """Give each a state that depends on ``key`` and its path alone."""
        for path, one in self._look().items():
            digest = hashlib.blake2b(repr((*key, path)).encode(), digest_size=8).digest()
            _seed(one, int.from_bytes(digest, "little") >> 1)

    def _look(self) -> dict[str, Any]:
        seen: set[int] = set()
        self._known = {
            path: one
            for name, owner in self._owners.items()
            for path, one in _within(owner, name, seen, _DEPTH)
        }
        return self._known

    def _make(self, path: str, state: Mapping[str, Any]) -> None:
        *parents, name = path.split(".")
        owner = self._owners.get(parents[0])
        for part in parents[1:]:
            owner = owner[int(part)] if isinstance(owner, (list, tuple)) else getattr(owner, part)
        made = {"torch": torch.Generator, "python": random.Random}.get(state["kind"])
        if made is not None:
            one = made()
        else:
            kind = getattr(np.random, str(state["state"]["bit_generator"]))()
            one = (np.random.Generator if state["kind"] == "numpy" else np.random.RandomState)(kind)
        _set(one, state)
        setattr(owner, name, one)


def _within(owner: Any, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    if id(owner) in seen or depth < 0 or owner is None or isinstance(owner, _OPAQUE):
        return
    seen.add(id(owner))
    if isinstance(owner, (list, tuple)):
        parts = [(str(n), one) for n, one in enumerate(owner)] if len(owner) <= _ITEMS else []
    else:
        parts = list(getattr(owner, "__dict__", {}).items())
    for name, one in parts:
        if _kind(one) and id(one) not in seen:
            seen.add(id(one))
            yield f"{path}.{name}", one
        elif not _kind(one):
            yield from _within(one, f"{path}.{name}", seen, depth - 1)


def _kind(one: Any) -> str:
    if isinstance(one, torch.Generator):
        return "torch" if one.device.type == "cpu" else ""
    if type(one) is random.Random:
        return "python"
    if isinstance(one, np.random.Generator):
        return "numpy"
    return "numpy legacy" if isinstance(one, np.random.RandomState) else ""


def _state(one: Any) -> dict[str, Any]:
    kind = _kind(one)
    if kind == "torch":
        return {"kind": kind, "state": one.get_state()}
    if kind == "python":
        version, keys, gauss = one.getstate()
        return {"kind": kind, "state": [version, np.array(keys, np.uint32), gauss]}
    state = one.bit_generator.state if kind == "numpy" else one.get_state(legacy=False)
    return {"kind": kind, "state": state}


def _set(one: Any, state: Mapping[str, Any]) -> None:
    found = state["state"]
    if state["kind"] == "torch":
        one.set_state(found)
    elif state["kind"] == "python":
        one.setstate((found[0], tuple(int(key) for key in found[1]), found[2]))
    elif state["kind"] == "numpy":
        one.bit_generator.state = found
    else:
        one.set_state(found)


def _seed(one: Any, number: int) -> None:
    kind = _kind(one)
    if kind == "torch":
        one.manual_seed(number)
    elif kind == "python":
        one.seed(number)
    elif kind == "numpy":
        one.bit_generator.state = type(one.bit_generator)(number).state
    else:
        one.seed(number % 2**32)

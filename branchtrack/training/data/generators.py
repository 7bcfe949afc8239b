"""Random generators that datasets, samplers and collate functions keep for themselves.

They are found by inspecting the objects, and identified by the path that leads to them. This module
knows no loader and none of the process's own generators.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

#: How deep objects are inspected, and how many of a list's items.
_DEPTH, _ITEMS = 4, 64
_OPAQUE = (torch.nn.Module, torch.Tensor, np.ndarray, type, str, bytes, int, float)


class Generators:
    """The generators within some objects, found by inspection: some are created late."""

    def __init__(self, **owners: Any) -> None:
        self._owners = owners
        self._known: dict[str, Any] = {}

    def capture(self, *, look: bool = True) -> dict[str, Any]:
        """Return the state of each, by path, as plain data, arrays and tensors.

        ``look``: include those that were created since the last look.
        """
        return {
            path: _state(generator)
            for path, generator in (self._look() if look else self._known).items()
        }

    def restore(self, states: Mapping[str, Any]) -> None:
        """Set each to a captured state; one that does not exist yet is created."""
        generators = self._look() if states else {}
        for path, state in states.items():
            if path in generators:
                _set(generators[path], state)
            else:
                self._make(path, state)

    def seed(self, *key: int) -> None:
        """Give each a state that depends only on ``key`` and its path."""
        for path, generator in self._look().items():
            digest = hashlib.blake2b(repr((*key, path)).encode(), digest_size=8).digest()
            _seed(generator, int.from_bytes(digest, "little") >> 1)

    def _look(self) -> dict[str, Any]:
        seen: set[int] = set()
        self._known = {
            path: generator
            for name, owner in self._owners.items()
            for path, generator in _within(owner, name, seen, _DEPTH)
        }
        return self._known

    def _make(self, path: str, state: Mapping[str, Any]) -> None:
        *parents, name = path.split(".")
        owner = self._owners.get(parents[0])
        for segment in parents[1:]:
            owner = (
                owner[int(segment)] if isinstance(owner, (list, tuple)) else getattr(owner, segment)
            )
        factory = {"torch": torch.Generator, "python": random.Random}.get(state["kind"])
        if factory is not None:
            generator = factory()
        else:
            kind = getattr(np.random, str(state["state"]["bit_generator"]))()
            generator = (
                np.random.Generator if state["kind"] == "numpy" else np.random.RandomState
            )(kind)
        _set(generator, state)
        setattr(owner, name, generator)


def _within(owner: Any, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    if id(owner) in seen or depth < 0 or owner is None or isinstance(owner, _OPAQUE):
        return
    seen.add(id(owner))
    if isinstance(owner, (list, tuple)):
        parts = [(str(n), value) for n, value in enumerate(owner)] if len(owner) <= _ITEMS else []
    else:
        parts = list(getattr(owner, "__dict__", {}).items())
    for name, value in parts:
        if _kind(value) and id(value) not in seen:
            seen.add(id(value))
            yield f"{path}.{name}", value
        elif not _kind(value):
            yield from _within(value, f"{path}.{name}", seen, depth - 1)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Generator):
        return "torch" if value.device.type == "cpu" else ""
    if type(value) is random.Random:
        return "python"
    if isinstance(value, np.random.Generator):
        return "numpy"
    return "numpy legacy" if isinstance(value, np.random.RandomState) else ""


def _state(generator: Any) -> dict[str, Any]:
    kind = _kind(generator)
    if kind == "torch":
        return {"kind": kind, "state": generator.get_state()}
    if kind == "python":
        version, keys, gauss = generator.getstate()
        return {"kind": kind, "state": [version, np.array(keys, np.uint32), gauss]}
    state = generator.bit_generator.state if kind == "numpy" else generator.get_state(legacy=False)
    return {"kind": kind, "state": state}


def _set(generator: Any, state: Mapping[str, Any]) -> None:
    payload = state["state"]
    if state["kind"] == "torch":
        generator.set_state(payload)
    elif state["kind"] == "python":
        generator.setstate((payload[0], tuple(int(key) for key in payload[1]), payload[2]))
    elif state["kind"] == "numpy":
        generator.bit_generator.state = payload
    else:
        generator.set_state(payload)


def _seed(generator: Any, number: int) -> None:
    kind = _kind(generator)
    if kind == "torch":
        generator.manual_seed(number)
    elif kind == "python":
        generator.seed(number)
    elif kind == "numpy":
        generator.bit_generator.state = type(generator.bit_generator)(number).state
    else:
        generator.seed(number % 2**32)

"""State that objects keep in attributes of their own, found by comparing it with how it began.

A teacher that follows the model, class weights that move, a counter, a buffer of samples: whatever
of a Trainer, of its callbacks or of a module is another than when training began belongs to the
state. It knows no session and no node.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.attribute_values import (
    GENERATORS,
    PLAIN,
    TIMES,
    brief,
    can_store,
    give,
    has_protocol,
    has_tensors,
    signature,
    state_of,
)

#: Where installed libraries, and Python's own, have their files.
_INSTALLED = ("site-packages", "dist-packages")
_PYTHON = sysconfig.get_path("stdlib")
#: How deep the objects of a script's own classes are looked into.
_DEPTH = 2


@dataclass(frozen=True)
class Slot:
    """One attribute: its path, the object that has it, its name and its value."""

    path: str
    holder: Any
    name: str
    value: Any


class Attributes:
    """The attributes of some objects that change while training.

    ``owners`` are objects by the beginning of their paths; ``ignored`` the names that are not
    followed; ``model`` is what is stored as weights anyway; of ``modules`` only numbers and tensors
    are followed. What is in ``tracked`` is state whether it changes or not.
    """

    def __init__(
        self,
        owners: Mapping[str, Any],
        model: torch.nn.Module,
        ignored: frozenset[str] = frozenset(),
        tracked: Mapping[str, Any] | None = None,
    ) -> None:
        self._owners, self._ignored, self._model = owners, ignored, model
        self._tracked = dict(tracked or {})
        self._known = {id(part) for part in (*model.modules(), *model.parameters())}
        self._numbers = {path: _numbers(module) for path, module in model.named_modules()}
        self._began = {slot.path: signature(slot.value) for slot in self._slots()}
        self._changed: set[str] = set()

    def state(self) -> dict[str, Any]:
        """What has changed since training began, and all that is tracked, by path."""
        state = {f"tracked.{name}": state_of(value) for name, value in self._tracked.items()}
        for slot in self._slots():
            if not self._has_changed(slot):
                continue
            value = state_of(slot.value)
            if can_store(value):
                self._changed.add(slot.path)
                state[slot.path] = value
        for path, module in self._model.named_modules():
            for name, value in _numbers(module).items():
                if not _same(self._numbers.get(path, {}).get(name), value):
                    state[_join("model", path, name)] = state_of(value)
        return state

    def numbers(self) -> dict[str, Any]:
        """The counters and texts that have changed since training began, by path.

        A float may be how long something took, by whatever name.
        """
        return {
            slot.path: repr(slot.value)
            for slot in self._slots()
            if isinstance(slot.value, (int, str)) and self._has_changed(slot)
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Give back what `state` gave, in place where that can be.

        Raises:
            CheckpointMismatch: what is tracked is not what was.
        """
        names = {path.removeprefix("tracked.") for path in stored if path.startswith("tracked.")}
        if names != self._tracked.keys():
            raise _other_tracked(sorted(self._tracked), sorted(names))
        for name, value in self._tracked.items():
            give(None, name, value, stored[f"tracked.{name}"])
        holders = self._holders()
        for path, state in stored.items():
            before, _, name = path.rpartition(".")
            holder = holders.get(before)
            if holder is not None and not path.startswith("tracked."):
                give(holder, name, getattr(holder, name, None), state)

    def differing(self, stored: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """What is another than in ``stored`` all the same: path -> (stored, present), in short.

        Objects that are not there any more, such as a callback, have nothing to differ.
        """
        holders = self._holders()
        values = {slot.path: slot.value for slot in self._slots()}
        values |= {f"tracked.{name}": value for name, value in self._tracked.items()}
        for path, module in self._model.named_modules():
            values |= {_join("model", path, n): v for n, v in vars(module).items()}
        differing = {}
        for path, state in stored.items():
            if path.rpartition(".")[0] not in holders and not path.startswith("tracked."):
                continue
            present = state_of(values.get(path))
            if signature(present["state"]) != signature(state["state"]):
                differing[path] = (brief(state["state"]), brief(present["state"]))
        return differing

    def _has_changed(self, slot: Slot) -> bool:
        digest = signature(slot.value)
        if digest is None or _is_clock(slot.value):
            return False
        return slot.path in self._changed or self._began.get(slot.path) != digest

    def _slots(self) -> Iterator[Slot]:
        seen = set(self._known) | {id(value) for value in self._tracked.values()}
        for path, owner in self._owners.items():
            yield from self._within(path, owner, seen, _DEPTH)

    def _within(self, path: str, holder: Any, seen: set[int], depth: int) -> Iterator[Slot]:
        for name, value in list(vars(holder).items()):
            if name in self._ignored or TIMES.search(name):
                continue
            if not isinstance(value, PLAIN):
                if id(value) in seen:
                    continue
                seen.add(id(value))
            own = f"{path}.{name}"
            if self._is_followed(value, path):
                yield Slot(own, holder, name, value)
            elif depth > 1 and _is_of_script(value):
                yield from self._within(own, value, seen, depth - 1)

    def _is_followed(self, value: Any, path: str) -> bool:
        if isinstance(value, torch.nn.Module):
            # A part of the model, or a wrapper around it, is stored with the model.
            return not any(id(p) in self._known for p in value.parameters())
        if isinstance(value, (dict, list, tuple, set, deque)):
            # Callbacks look on, and keep lists of what they saw.
            return not path.startswith("callback.") or has_tensors(value)
        return isinstance(value, (*PLAIN, torch.Tensor, np.ndarray, np.generic, *GENERATORS)) or (
            has_protocol(value) and not _is_of_library(value, "accelerate", "transformers")
        )

    def _holders(self) -> dict[str, Any]:
        holders = {_join("model", path): module for path, module in self._model.named_modules()}

        def add(path: str, holder: Any, depth: int) -> None:
            holders[path] = holder
            for name, value in list(vars(holder).items()):
                if depth > 1 and name not in self._ignored and _is_of_script(value):
                    add(f"{path}.{name}", value, depth - 1)

        for path, owner in self._owners.items():
            add(path, owner, _DEPTH)
        return holders


def _numbers(module: torch.nn.Module) -> dict[str, Any]:
    """The numbers that a module keeps beside its parameters and buffers."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, (bool, int, float)) and name not in ("training", "p")
    }


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b or (a != a and b != b))


def _is_of_script(value: Any) -> bool:
    """Whether it is an object of a class of the script's own, and no library's."""
    if not hasattr(value, "__dict__") or isinstance(value, (type, ModuleType)) or callable(value):
        return False
    name = type(value).__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name == "__main__"
    installed = file.startswith(_PYTHON) or any(part in file for part in _INSTALLED)
    return not installed and name.partition(".")[0] != "branchtrack"


def _is_of_library(value: Any, *names: str) -> bool:
    return type(value).__module__.partition(".")[0] in names


def _is_clock(value: Any) -> bool:
    """Whether a number is the time of now, of some clock."""
    if not isinstance(value, float):
        return False
    return any(abs(value - now) < 86_400 for now in (time.time(),)) or (
        value > 1000 and abs(value - time.perf_counter()) < 3_600
    )


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _other_tracked(present: list[str], stored: list[str]) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"The script tracks {', '.join(present) or 'nothing'}; the node has "
        f"{', '.join(stored) or 'nothing'}.",
        safe="No training was done.",
        fix="Track the same names as when the node was made, or take the weights alone: "
        "--mode weights.",
        field="tracked",
        expected=stored,
        found=present,
    )

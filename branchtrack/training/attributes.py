"""State that objects keep in attributes of their own, found by comparing it with how it began.

A teacher that follows the model, class weights that move, a counter, a buffer of samples: whatever
of a Trainer, of its callbacks or of a module is another than when training began belongs to the
state. It knows no session and no node.
"""

from __future__ import annotations

import logging
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.attribute_values import (
    GENERATORS,
    PLAIN,
    SCALARS,
    brief,
    can_store,
    give,
    has_protocol,
    has_tensors,
    is_outline,
    signature,
    state_of,
    tells_time,
)

logger = logging.getLogger("branchtrack")

#: The kind of a stored value that only says that there was more.
_OMITTED = "omitted"
#: Where installed libraries, and Python's own, have their files.
_INSTALLED = ("site-packages", "dist-packages")
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)
#: Objects in one container that are looked into.
_MOST_OBJECTS = 1_000
_PYTHON = sysconfig.get_path("stdlib")
#: How deep the objects of a script's own classes are looked into.
_DEPTH = 4
#: Elements of a tensor that a module keeps beside its buffers, beyond which it is no state.
_LARGEST = 1_000_000
#: Whole numbers beyond it are times in nanoseconds, addresses, or random.
_COUNTED = 2**40
#: When this process began, by the clocks that scripts read.
_BEGAN = (time.time(), time.perf_counter(), time.monotonic())


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
    followed in the first of them; ``model`` is what is stored as weights anyway: of it only numbers
    and tensors beside its buffers are followed. What is in ``tracked`` is state whether it changes
    or not. Whatever objects do where they are looked at, training does not suffer from it.
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
        self._holders: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._omitted: set[str] = set()
        self._began = {slot.path: signature(slot.value, versions=True) for slot in self._slots()}

    def state(self) -> dict[str, Any]:
        """What has changed since training began, and all that is tracked, by path.

        What is too large, or of a kind that cannot be stored, is there by its path alone, and is
        said once.
        """
        state = {f"tracked.{name}": state_of(value) for name, value in self._tracked.items()}
        for slot in self._slots():
            with suppress(Exception):
                if digest := self._changed_digest(slot):
                    self._changed.add(slot.path)
                    state[slot.path] = self._stored(slot, is_outline(digest))
        return state

    def _stored(self, slot: Slot, is_large: bool) -> dict[str, Any]:
        if not is_large and can_store(value := state_of(slot.value)):
            return value
        if slot.path not in self._omitted:
            self._omitted.add(slot.path)
            logger.warning(
                "branchtrack does not store %s, which changes while training: %s. A resume has it "
                "as the script makes it. If training depends on it, give it state_dict() and "
                "load_state_dict().", slot.path, "it is too large" if is_large else
                f"a {type(slot.value).__name__} is neither plain data nor a tensor",
            )  # fmt: skip
        return {"kind": _OMITTED, "state": None}

    def numbers(self) -> dict[str, Any]:
        """The counters that have changed since training began, by path.

        A float may be how long something took, by whatever name.
        """
        return {
            slot.path: repr(slot.value)
            for slot in self._slots()
            if isinstance(slot.value, int)
            and abs(slot.value) < _COUNTED
            and self._changed_digest(slot)
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
        present = {slot.path: slot.value for slot in self._slots()}
        for path, state in stored.items():
            before, _, name = path.rpartition(".")
            if not path.startswith("tracked.") and state["kind"] != _OMITTED:
                holder = self._holders.get(before) if name.isidentifier() else None
                with suppress(Exception):
                    # What was not given back is told: see `differing`.
                    give(holder, name, present.get(path), state)

    def differing(self, stored: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """What is another than in ``stored`` all the same: path -> (stored, present), in short.

        Objects that are not there any more, such as a callback, have nothing to differ.
        """
        values = {slot.path: slot.value for slot in self._slots()}
        values |= {f"tracked.{name}": value for name, value in self._tracked.items()}
        differing = {}
        for path, state in stored.items():
            before, present = path.rpartition(".")[0], values.get(path)
            if state["kind"] == _OMITTED:
                continue
            if before in self._holders or before.endswith("]") or path.startswith("tracked."):
                if signature(present) != signature(state["state"]):
                    differing[path] = (brief(state["state"]), brief(present))
        return differing

    @staticmethod
    def omitted(stored: Mapping[str, Any]) -> list[str]:
        """The paths of what had changed and is not in ``stored``."""
        return [path for path, state in stored.items() if state["kind"] == _OMITTED]

    def _changed_digest(self, slot: Slot) -> bytes | None:
        """The signature of what has changed since training began; None of all else."""
        digest = signature(slot.value, versions=True)
        if digest is None or _is_clock(slot.value):
            return None
        changed = slot.path in self._changed or self._began.get(slot.path) != digest
        return digest if changed else None

    def _slots(self) -> list[Slot]:
        """Every attribute that may be state; what holds them is in ``_holders`` afterwards."""
        self._holders = {}
        seen = self._known | {id(value) for value in self._tracked.values()}
        seen |= {id(owner) for owner in self._owners.values()}
        slots = self._of_module("model", self._model, seen)
        for path, owner in self._owners.items():
            slots += self._within(path, owner, seen, _DEPTH)
        return slots

    def _within(self, path: str, holder: Any, seen: set[int], depth: int) -> list[Slot]:
        slots: list[Slot] = []
        self._holders[path] = holder
        ignored = self._ignored if path == "trainer" else frozenset[str]()
        for name, value in _attributes(holder):
            if name in ignored or name.startswith("_bt_") or tells_time(name):
                continue
            with suppress(Exception):
                slots += self._of_value(Slot(f"{path}.{name}", holder, name, value), seen, depth)
        return slots

    def _of_value(self, slot: Slot, seen: set[int], depth: int) -> list[Slot]:
        """A value itself, or what is within it."""
        value = slot.value
        if isinstance(value, (*PLAIN, *SCALARS)):
            return [slot]
        if id(value) in seen:
            return []
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            own = {id(part) for part in (*value.parameters(), *value.buffers())}
            whole = [] if own <= self._known else [slot]
            return [*whole, *self._of_module(slot.path, value, seen)]
        if isinstance(value, (dict, list, tuple, set, frozenset, deque)):
            return self._of_container(slot, seen, depth)
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic, *GENERATORS)):
            return [slot]
        if has_protocol(value) and not _is_of_library(value, "accelerate", "transformers"):
            return [slot]
        return self._within(slot.path, value, seen, depth - 1) if depth and _is_own(value) else []

    def _of_container(self, slot: Slot, seen: set[int], depth: int) -> list[Slot]:
        """A container, or each of the objects in it."""
        value = slot.value
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        if depth and len(pairs) <= _MOST_OBJECTS:
            objects = [(key, item) for key, item in pairs if _is_object(item)]
            if objects:
                slots: list[Slot] = []
                for key, item in objects:
                    place = Slot(f"{slot.path}[{key}]", value, f"[{key}]", item)
                    slots += self._of_value(place, seen, depth - 1)
                return slots
        # Callbacks look on, and keep lists of what they saw.
        looks_on = slot.path.startswith("callback.") and not isinstance(value, dict)
        return [] if looks_on and not has_tensors(value) else [slot]

    def _of_module(self, path: str, module: torch.nn.Module, seen: set[int]) -> list[Slot]:
        """The numbers, and the tensors beside its buffers, that modules keep in attributes."""
        slots = []
        for name, part in module.named_modules():
            own = f"{path}.{name}" if name else path
            self._holders[own] = part
            for key, value in list(vars(part).items()):
                is_number = isinstance(value, (bool, int, float)) and key not in ("training", "p")
                is_tensor = isinstance(value, torch.Tensor) and value.numel() <= _LARGEST
                if is_number or (is_tensor and id(value) not in seen):
                    slots.append(Slot(f"{own}.{key}", part, key, value))
        return slots


def _attributes(holder: Any) -> list[tuple[str, Any]]:
    """What an object holds, in slots or not."""
    names = [name for kind in type(holder).__mro__ for name in getattr(kind, "__slots__", ())]
    pairs = list(getattr(holder, "__dict__", {}).items())
    for name in names:
        with suppress(AttributeError):
            pairs.append((name, object.__getattribute__(holder, name)))
    return pairs


def _is_object(value: Any) -> bool:
    """Whether it is no plain value: a module, something with state, or of the script's own."""
    with suppress(Exception):
        return not isinstance(value, (*PLAIN, torch.Tensor, np.ndarray)) and (
            isinstance(value, torch.nn.Module) or has_protocol(value) or _is_own(value)
        )
    return False


def _is_own(value: Any) -> bool:
    """Whether it is an object of a class of the script's own, and no library's."""
    if isinstance(value, (type, ModuleType, *_FUNCTIONS)):
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
    """Whether a number is what some clock showed since this process began."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    scaled = value / 1e9 if isinstance(value, int) else value
    now = (time.time(), time.perf_counter(), time.monotonic())
    shown = any(began <= scaled <= at for began, at in zip(_BEGAN, now, strict=True))
    return shown and value != int(scaled)


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

"""Where objects may keep state of their own: their attributes, those of what is in them, and so on.

A slot is one attribute that may be state; comparing its values shows whether it is. This module
knows no session and no node.
"""

from __future__ import annotations

import io
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from branchtrack.training.attributes.values import (
    GENERATORS,
    PLAIN,
    SCALARS,
    has_protocol,
    has_tensors,
    is_of_time,
)

#: Where installed libraries, and Python's own, have their files.
_INSTALLED = ("site-packages", "dist-packages")
_PYTHON = sysconfig.get_path("stdlib")
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
#: How many objects in one container are inspected.
_MOST_OBJECTS = 1_000
#: How deep the objects of a script's own classes are inspected.
_DEPTH = 4
#: Elements of a tensor kept beside a module's buffers, above which it is not state.
_LARGEST = 1_000_000
#: What every module has, and modes that are stored as such.
#: What torch's own optimizers have beside their stored state.
OF_EVERY_OPTIMIZER = frozenset(
    """state param_groups defaults step _opt_called _step_count _need_device_dtype_check_for_fused
    _warned_capturable_if_run_uncaptured _patch_step_function _zero_grad_profile_name
    _optimizer_step_pre_hooks _optimizer_step_post_hooks _optimizer_state_dict_pre_hooks
    _optimizer_state_dict_post_hooks _optimizer_load_state_dict_pre_hooks
    _optimizer_load_state_dict_post_hooks""".split()
)
#: What code other than the script sets in a dataset.
OF_EVERY_DATA_SET = frozenset(("epoch", "_epoch"))
_OF_EVERY_MODULE = frozenset((*vars(torch.nn.Module()), "p"))


class Slot(NamedTuple):
    """One attribute: its path, the object that has it, its name and its value."""

    path: str
    holder: Any
    name: str
    value: Any


class Slots:
    """The attributes of some objects, read anew by each call of `read`.

    ``owners`` are objects by the beginning of their paths; ``ignored`` the names that are not
    followed in each of them; ``model`` is stored as weights anyway: only its numbers, containers
    and tensors beside its buffers are followed. ``excluded`` are objects that are state already.
    ``holders`` are the objects that held attributes at the last read, by path.
    """

    def __init__(
        self,
        owners: Mapping[str, Any],
        model: torch.nn.Module,
        ignored: Mapping[str, frozenset[str]],
        excluded: Iterable[Any],
    ) -> None:
        self.holders: dict[str, Any] = {}
        self._owners, self._model, self._ignored = owners, model, ignored
        self._parts = {id(component) for component in (*model.modules(), *model.parameters())}
        self._excluded = {id(value) for value in (*excluded, *owners.values())}

    def read(self) -> list[Slot]:
        """Return every attribute that may be state."""
        self.holders = {}
        seen = self._parts | self._excluded
        slots = self._of_module("model", self._model, seen)
        for path, owner in self._owners.items():
            slots += self._within(path, owner, seen, _DEPTH)
        return slots

    def _within(self, path: str, holder: Any, seen: set[int], depth: int) -> list[Slot]:
        slots: list[Slot] = []
        self.holders[path] = holder
        ignored = self._ignored.get(path, frozenset[str]())
        for name, value in _attributes(holder):
            if name in ignored or name.startswith("_bt_") or is_of_time(name):
                continue
            with suppress(Exception):
                slots += self._of_value(Slot(f"{path}.{name}", holder, name, value), seen, depth)
        for kind in filter(_is_own_class, type(holder).__mro__):
            # Counters in the class itself.
            self.holders[f"{path}.{kind.__name__}"] = kind
            slots += numbers_of(f"{path}.{kind.__name__}", kind, ignored)
        return slots

    def _of_value(self, slot: Slot, seen: set[int], depth: int) -> list[Slot]:
        """Return a value itself, or what is within it."""
        value = slot.value
        if isinstance(value, (*PLAIN, *SCALARS)):
            return [slot]
        if id(value) in seen:
            return []
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            tensor_ids = {id(tensor) for tensor in (*value.parameters(), *value.buffers())}
            whole = [] if tensor_ids <= self._parts else [slot]
            return [*whole, *self._of_module(slot.path, value, seen)]
        if isinstance(value, _CONTAINERS):
            return self._of_container(slot, seen, depth)
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic, *GENERATORS)):
            return [slot]
        if is_iterator(value):
            return [slot]
        if has_protocol(value) and not _is_of_library(value, "accelerate", "transformers"):
            return [slot]
        return self._within(slot.path, value, seen, depth - 1) if depth and is_own(value) else []

    def _of_container(self, slot: Slot, seen: set[int], depth: int) -> list[Slot]:
        """Return a container, or each of the objects in it."""
        value = slot.value
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        if depth and len(pairs) <= _MOST_OBJECTS:
            objects = [(key, item) for key, item in pairs if _is_object(item)]
            if objects:
                slots: list[Slot] = []
                for key, item in objects:
                    item_slot = Slot(f"{slot.path}[{key}]", value, f"[{key}]", item)
                    slots += self._of_value(item_slot, seen, depth - 1)
                return slots
        tensors = [item for _, item in pairs if isinstance(item, torch.Tensor)]
        if tensors and all(id(item) in self._parts for item in tensors):
            # Parameters by another name, as optimizers keep them.
            return []
        # Callbacks observe, and keep lists of what they saw.
        looks_on = slot.path.startswith("callback.") and not isinstance(value, dict)
        return [] if looks_on and not has_tensors(value) else [slot]

    def _of_module(self, path: str, module: torch.nn.Module, seen: set[int]) -> list[Slot]:
        """Return the numbers, containers and tensors that modules keep beside their buffers."""
        slots = []
        for name, submodule in module.named_modules():
            module_path = f"{path}.{name}" if name else path
            self.holders[module_path] = submodule
            for key, value in list(vars(submodule).items()):
                if key in _OF_EVERY_MODULE:
                    continue
                slot = Slot(f"{module_path}.{key}", submodule, key, value)
                if isinstance(value, (bool, int, float)):
                    slots.append(slot)
                elif isinstance(value, torch.Tensor):
                    slots += [slot] if value.numel() <= _LARGEST and id(value) not in seen else []
                elif isinstance(value, _CONTAINERS):
                    with suppress(Exception):
                        slots += self._of_value(slot, seen, 1)
        return slots


def numbers_of(path: str, holder: Any, ignored: frozenset[str]) -> list[Slot]:
    """Return the numbers, arrays and tensors of an object or class; lists may only be logs."""
    return [
        Slot(f"{path}.{name}", holder, name, value)
        for name, value in list(getattr(holder, "__dict__", {}).items())
        if _is_numeric(value)
        and not (name in ignored or name.startswith(("_bt_", "__")) or is_of_time(name))
    ]


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (bool, int, float, torch.Tensor)) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
    )


def _attributes(holder: Any) -> list[tuple[str, Any]]:
    """Return what an object holds, in slots or not."""
    names = [name for kind in type(holder).__mro__ for name in getattr(kind, "__slots__", ())]
    pairs = list(getattr(holder, "__dict__", {}).items())
    for name in names:
        with suppress(AttributeError):
            pairs.append((name, object.__getattribute__(holder, name)))
    return pairs


def is_iterator(value: Any) -> bool:
    """Return whether it can only be read onwards, so that its position is unknown."""
    return hasattr(type(value), "__next__") and not isinstance(value, io.IOBase)


def _is_object(value: Any) -> bool:
    """Return whether it is not a plain value: a module, something with state, or of the script."""
    with suppress(Exception):
        return not isinstance(value, (*PLAIN, torch.Tensor, np.ndarray)) and (
            isinstance(value, torch.nn.Module) or has_protocol(value) or is_own(value)
        )
    return False


def is_own(value: Any) -> bool:
    """Return whether it is an object of a class of the script's own, not a library's."""
    if isinstance(value, (type, ModuleType, *_FUNCTIONS)):
        return False
    return _is_own_class(type(value))


def _is_own_class(kind: type) -> bool:
    name = kind.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name == "__main__"
    installed = file.startswith(_PYTHON) or any(folder in file for folder in _INSTALLED)
    return not installed and name.partition(".")[0] != "branchtrack"


def _is_of_library(value: Any, *names: str) -> bool:
    return type(value).__module__.partition(".")[0] in names

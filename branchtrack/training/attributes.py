"""State that objects keep in attributes of their own, found by comparing it with how it began.

A teacher that follows the model, class weights that move, a counter, a buffer of samples: whatever
of a Trainer, of its callbacks or of a module is another than when training began belongs to the
state. It knows no session and no node.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from branchtrack.checkpoints.tensors import encode
from branchtrack.errors import CheckpointMismatch

#: What tells the time: another each time, and no state of training.
_TIMES = re.compile(r"time|clock|elapsed|seconds|duration|perf_counter|_at$", re.IGNORECASE)
#: Libraries whose objects are looked into only where they are modules or have state.
_LIBRARIES = frozenset(
    """accelerate branchtrack builtins collections datasets functools huggingface_hub logging
    multiprocessing numpy pathlib peft re tokenizers torch tqdm transformers types""".split()
)
_PLAIN = (bool, int, float, str, type(None))
_GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
#: Elements of each tensor that are compared: an update of a tensor changes nearly all of them.
_SAMPLE = 16
#: Values within one attribute beyond which it is a data set and no state.
_MOST_LEAVES = 20_000
_LONGEST_TEXT = 4_000
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
        self._began = {slot.path: _signature(slot.value) for slot in self._slots()}
        self._changed: set[str] = set()

    def state(self) -> dict[str, Any]:
        """What has changed since training began, and all that is tracked, by path."""
        state = {f"tracked.{name}": _state(value) for name, value in self._tracked.items()}
        for slot in self._slots():
            if not self._has_changed(slot):
                continue
            value = _state(slot.value)
            if _can_store(value):
                self._changed.add(slot.path)
                state[slot.path] = value
        for path, module in self._model.named_modules():
            for name, value in _numbers(module).items():
                if not _same(self._numbers.get(path, {}).get(name), value):
                    state[_join("model", path, name)] = _state(value)
        return state

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Give back what `state` gave, in place where that can be.

        Raises:
            CheckpointMismatch: what is tracked is not what was.
        """
        names = {path.removeprefix("tracked.") for path in stored if path.startswith("tracked.")}
        if names != self._tracked.keys():
            raise _other_tracked(sorted(self._tracked), sorted(names))
        for name, value in self._tracked.items():
            _give(None, name, value, stored[f"tracked.{name}"])
        holders = self._holders()
        for path, state in stored.items():
            before, _, name = path.rpartition(".")
            holder = holders.get(before)
            if holder is not None and not path.startswith("tracked."):
                _give(holder, name, getattr(holder, name, None), state)

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
            present = _state(values.get(path))
            if _signature(present["state"]) != _signature(state["state"]):
                differing[path] = (_brief(state["state"]), _brief(present["state"]))
        return differing

    def _has_changed(self, slot: Slot) -> bool:
        signature = _signature(slot.value)
        if signature is None or _is_clock(slot.value):
            return False
        return slot.path in self._changed or self._began.get(slot.path) != signature

    def _slots(self) -> Iterator[Slot]:
        seen = set(self._known) | {id(value) for value in self._tracked.values()}
        for path, owner in self._owners.items():
            yield from self._within(path, owner, seen, _DEPTH)

    def _within(self, path: str, holder: Any, seen: set[int], depth: int) -> Iterator[Slot]:
        for name, value in list(vars(holder).items()):
            if name in self._ignored or _TIMES.search(name):
                continue
            if not isinstance(value, _PLAIN):
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
            return not path.startswith("callback.") or _has_tensors(value)
        return isinstance(value, (*_PLAIN, torch.Tensor, np.ndarray, np.generic, *_GENERATORS)) or (
            _has_state(value) and not _is_of_library(value, "accelerate", "transformers")
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


def has_state(value: Any) -> bool:
    """Whether ``value`` has state that can be taken and given back in place."""
    return isinstance(value, (torch.Tensor, np.ndarray, *_GENERATORS)) or _has_state(value)


def _state(value: Any) -> dict[str, Any]:
    """A value as what can be encoded: ``kind`` and ``state``."""
    if isinstance(value, torch.Generator):
        return {"kind": "generator", "state": value.get_state()}
    if isinstance(value, random.Random):
        return {"kind": "generator", "state": value.getstate()}
    if isinstance(value, np.random.Generator):
        return {"kind": "generator", "state": value.bit_generator.state}
    if isinstance(value, np.random.RandomState):
        return {"kind": "generator", "state": value.get_state(legacy=False)}
    if _has_state(value):
        return {"kind": "state", "state": value.state_dict()}
    return {"kind": "value", "state": _contents(value)}


def _contents(value: Any) -> Any:
    """A container without what tells the time, as plain containers."""
    if isinstance(value, Mapping):
        return {k: _contents(v) for k, v in value.items() if not _TIMES.search(str(k))}
    if isinstance(value, (list, deque)):
        return [_contents(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_contents(item) for item in value)
    return value.detach() if isinstance(value, torch.Tensor) else value


def _give(holder: Any, name: str, present: Any, stored: Mapping[str, Any]) -> None:
    """Bring one attribute to a stored state."""
    state = stored["state"]
    if stored["kind"] == "state":
        if _has_state(present):
            present.load_state_dict(state)
    elif isinstance(present, torch.Generator):
        present.set_state(state)
    elif isinstance(present, random.Random):
        present.setstate(state)
    elif isinstance(present, np.random.Generator):
        present.bit_generator.state = state
    elif isinstance(present, np.random.RandomState):
        present.set_state(state)
    elif not _refill(present, state) and holder is not None:
        setattr(holder, name, _copied(state, _device(holder)))


def _refill(present: Any, state: Any) -> bool:
    """Fill a tensor or a container with other contents, keeping the object; false where not."""
    if isinstance(present, torch.Tensor) and isinstance(state, torch.Tensor):
        if present.shape != state.shape or present.dtype != state.dtype:
            return False
        with torch.no_grad():
            present.copy_(state)
        return True
    if isinstance(present, np.ndarray) and isinstance(state, np.ndarray):
        if present.shape != state.shape or present.dtype != state.dtype:
            return False
        present[...] = state
        return True
    if isinstance(present, MutableMapping) and isinstance(state, Mapping):
        for key in [key for key in present if key not in state and not _TIMES.search(str(key))]:
            del present[key]
        for key, value in state.items():
            # A default of its own, where there is one, says what kind of container it is.
            if not _refill(present[key] if _has_key(present, key) else None, value):
                present[key] = _copied(value, None)
        return True
    if isinstance(present, (list, deque)) and isinstance(state, list):
        contents = [_copied(item, None) for item in state]
        present.clear()
        present.extend(contents)
        return True
    return False


def _has_key(mapping: Any, key: Any) -> bool:
    return key in mapping or getattr(mapping, "default_factory", None) is not None


def _copied(value: Any, device: torch.device | None) -> Any:
    """A stored value that nothing else holds; its tensors where the holder's are."""
    if isinstance(value, torch.Tensor):
        return value.clone() if device is None else value.clone().to(device)
    if isinstance(value, dict):
        return {key: _copied(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item, device) for item in value)
    return value


def _device(holder: Any) -> torch.device | None:
    """Where a Trainer's tensors are."""
    return getattr(getattr(holder, "args", None), "device", None)


def _signature(value: Any) -> bytes | None:
    """A digest of plain values and of a sample of each tensor; None of what is no state."""
    digest, left = hashlib.sha256(), [_MOST_LEAVES]
    try:
        _sign(digest, _state(value)["state"], left)
    except (OverflowError, RecursionError, TypeError, RuntimeError):
        return None
    return digest.digest()


def _sign(digest: Any, value: Any, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise OverflowError("more than the state of an attribute")
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(repr(_sample(value)).encode())
    elif isinstance(value, (np.ndarray, np.generic)):
        step = max(1, value.size // _SAMPLE)
        digest.update(repr(np.asarray(value).reshape(-1)[::step].tolist()).encode())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            digest.update(f"{key!r}=".encode())
            _sign(digest, item, left)
    elif isinstance(value, (list, tuple, deque, set, frozenset)):
        digest.update(f"[{len(value)}".encode())
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        for item in items:
            _sign(digest, item, left)
    elif isinstance(value, _PLAIN):
        digest.update(f"{type(value).__name__}{value!r}"[:_LONGEST_TEXT].encode("utf-8", "replace"))
    else:
        # An object of another kind counts as the same for as long as it is the same.
        digest.update(f"{type(value).__name__}".encode())


def _sample(tensor: torch.Tensor) -> list[Any]:
    if tensor.is_meta or tensor.layout is not torch.strided:
        return []
    flat = tensor.detach().reshape(-1)
    sample: list[Any] = flat[:: max(1, flat.numel() // _SAMPLE)].tolist()
    return sample


def _can_store(state: Mapping[str, Any]) -> bool:
    if isinstance(state["state"], str) and len(state["state"]) > _LONGEST_TEXT:
        return False
    try:
        encode(state["state"], "attribute", {})
    except (CheckpointMismatch, TypeError, RecursionError):
        # What is neither plain data nor a tensor is none of the kinds that are followed.
        return False
    return True


def _numbers(module: torch.nn.Module) -> dict[str, Any]:
    """The numbers that a module keeps beside its parameters and buffers."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, (bool, int, float)) and name not in ("training", "p")
    }


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b or (a != a and b != b))


def _has_tensors(value: Any) -> bool:
    """Whether there are tensors in a container, a few levels deep."""
    items = value.values() if isinstance(value, Mapping) else value
    return any(
        isinstance(item, torch.Tensor)
        or (isinstance(item, (dict, list, tuple, deque)) and _has_tensors(item))
        for item in itertools.islice(items, 100)
    )


def _has_state(value: Any) -> bool:
    has = callable(getattr(value, "state_dict", None))
    has = has and callable(getattr(value, "load_state_dict", None))
    return has and not isinstance(value, type)


def _is_of_script(value: Any) -> bool:
    """Whether it is an object of a class that no library brings."""
    return hasattr(value, "__dict__") and not isinstance(value, type) and not _is_of_library(value)


def _is_of_library(value: Any, *names: str) -> bool:
    return type(value).__module__.partition(".")[0] in (names or _LIBRARIES)


def _is_clock(value: Any) -> bool:
    """Whether a number is the time of now, of some clock."""
    if not isinstance(value, float):
        return False
    return any(abs(value - now) < 86_400 for now in (time.time(),)) or (
        value > 1000 and abs(value - time.perf_counter()) < 3_600
    )


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _brief(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.item()
    return value if isinstance(value, _PLAIN) else type(value).__name__


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

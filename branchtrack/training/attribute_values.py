"""The values of attributes: compared by samples, taken as plain data, and given back in place.

It knows no Trainer and no module's place in it.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections import deque
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import torch

from branchtrack.checkpoints.tensors import encode
from branchtrack.errors import CheckpointMismatch

#: What tells the time: another each time, and no state of training.
TIMES = re.compile(
    r"time|clock|elapsed|second|duration|latency|speed|throughput|memory|perf_counter|per_sec"
    r"|took|_(at|ms|secs?|dur|tps|fps|mfu|mem)$",
    re.IGNORECASE,
)
PLAIN = (bool, int, float, str, type(None))
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
#: Elements of each tensor that are compared: an update of a tensor changes nearly all of them.
_SAMPLE = 16
#: Values within one attribute beyond which it is a data set and no state.
_MOST_LEAVES = 20_000
_LONGEST_TEXT = 4_000


def has_state(value: Any) -> bool:
    """Whether ``value`` has state that can be taken and given back in place."""
    return isinstance(value, (torch.Tensor, np.ndarray, *GENERATORS)) or has_protocol(value)


def state_of(value: Any) -> dict[str, Any]:
    """A value as what can be encoded: ``kind`` and ``state``."""
    if isinstance(value, torch.Generator):
        return {"kind": "generator", "state": value.get_state()}
    if isinstance(value, random.Random):
        return {"kind": "generator", "state": value.getstate()}
    if isinstance(value, np.random.Generator):
        return {"kind": "generator", "state": value.bit_generator.state}
    if isinstance(value, np.random.RandomState):
        return {"kind": "generator", "state": value.get_state(legacy=False)}
    if has_protocol(value):
        return {"kind": "state", "state": value.state_dict()}
    return {"kind": "value", "state": _contents(value)}


def _contents(value: Any) -> Any:
    """A container without what tells the time, as plain containers."""
    if isinstance(value, Mapping):
        return {k: _contents(v) for k, v in value.items() if not TIMES.search(str(k))}
    if isinstance(value, (list, deque)):
        return [_contents(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_contents(item) for item in value)
    return value.detach() if isinstance(value, torch.Tensor) else value


def give(holder: Any, name: str, present: Any, stored: Mapping[str, Any]) -> None:
    """Bring one attribute to a stored state."""
    state = stored["state"]
    if stored["kind"] == "state":
        if has_protocol(present):
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
        for key in [key for key in present if key not in state and not TIMES.search(str(key))]:
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


def signature(value: Any) -> bytes | None:
    """A digest of plain values and of a sample of each tensor; None of what is no state."""
    digest, left = hashlib.sha256(), [_MOST_LEAVES]
    try:
        _sign(digest, state_of(value)["state"], left)
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
    elif isinstance(value, PLAIN):
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


def can_store(state: Mapping[str, Any]) -> bool:
    """Whether a state can be stored: plain data and tensors, no long text."""
    if isinstance(state["state"], str) and len(state["state"]) > _LONGEST_TEXT:
        return False
    try:
        encode(state["state"], "attribute", {})
    except (CheckpointMismatch, TypeError, RecursionError):
        # What is neither plain data nor a tensor is none of the kinds that are followed.
        return False
    return True


def has_tensors(value: Any) -> bool:
    """Whether there are tensors in a container, a few levels deep."""
    items = value.values() if isinstance(value, Mapping) else value
    return any(
        isinstance(item, torch.Tensor)
        or (isinstance(item, (dict, list, tuple, deque)) and has_tensors(item))
        for item in itertools.islice(items, 100)
    )


def has_protocol(value: Any) -> bool:
    """Whether it has ``state_dict`` and ``load_state_dict``."""
    has = callable(getattr(value, "state_dict", None))
    has = has and callable(getattr(value, "load_state_dict", None))
    return has and not isinstance(value, type)


def brief(value: Any) -> Any:
    """A state in a word: a number, or what kind of thing it is."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.item()
    return value if isinstance(value, PLAIN) else type(value).__name__

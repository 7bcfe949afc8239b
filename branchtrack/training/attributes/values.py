"""The values of attributes: compared by samples, taken as plain data, and restored in place.

It knows no Trainer and no module's role in it.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections import Counter, deque
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from branchtrack.checkpoints.tensors import encode

#: Words in names of times or machine measurements: different each time, and not state.
_TIMES = frozenset(
    """time times clock elapsed seconds second secs sec ms duration dur latency speed throughput tps
    fps sps mfu mem memory rss eta took timestamp stamp uuid perf""".split()
)
SCALARS = (bytes, complex, Decimal, Fraction, Enum)
PLAIN = (bool, int, float, str, type(None))
_NUMBERS = frozenset((bool, int, float))
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
#: Bytes of a tensor or an array that are compared as a whole; larger ones are sampled.
_WHOLE = 1 << 20
_SAMPLE = 4_096
#: Values within one attribute above which it is not stored: a dataset, or a buffer of its size.
_MOST_LEAVES = 20_000
#: How many items from each end of such an attribute, with so many values each, are compared.
_OUTLINED, _OUTLINED_LEAVES = 50, 1_000
#: Prefix of the digest of an outline.
_OUTLINE = b"outline "
_LONGEST_TEXT = 4_000


def is_of_time(name: str) -> bool:
    """Return whether a name is that of a time, or of a machine measurement."""
    words = re.split(r"[_\W]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    pairs = list(zip(words, words[1:], strict=False))
    if ("time", "step") in pairs or ("time", "steps") in pairs:
        return False
    return not _TIMES.isdisjoint(words) or words[-2:] == ["per", "s"]


def has_state(value: Any) -> bool:
    """Return whether ``value`` has state that can be taken and restored in place."""
    return isinstance(value, (torch.Tensor, np.ndarray, *GENERATORS)) or has_protocol(value)


def state_of(value: Any) -> dict[str, Any]:
    """Return a value in a form that can be encoded: ``kind`` and ``state``."""
    if isinstance(value, GENERATORS):
        return {"kind": "generator", "state": _generator_state(value)}
    if has_protocol(value):
        return {"kind": "state", "state": value.state_dict()}
    more = {"maxlen": value.maxlen} if isinstance(value, deque) else {}
    return {"kind": "value", "state": _contents(value), **more}


def _generator_state(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.get_state(legacy=False)


def _contents(value: Any) -> Any:
    """Return a container without times, as plain containers."""
    if isinstance(value, Mapping):
        pairs = {k: _contents(v) for k, v in value.items() if not is_of_time(str(k))}
        return Counter(pairs) if isinstance(value, Counter) else pairs
    if isinstance(value, (list, deque)):
        return [_contents(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_contents(item) for item in value)
    return value.detach() if isinstance(value, torch.Tensor) else value


def give(holder: Any, name: str, present: Any, stored: Mapping[str, Any]) -> None:
    """Restore one attribute to a stored state."""
    state = stored["state"]
    if stored["kind"] == "state":
        if isinstance(present, torch.optim.Optimizer):
            _give_optimizer(present, state)
        elif has_protocol(present):
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
        copy = _copied(state, _device(holder))
        if "maxlen" in stored:
            copy = deque(copy, maxlen=stored["maxlen"])
        elif isinstance(copy, tuple) and hasattr(present, "_fields"):
            copy = type(present)(*copy)
        setattr(holder, name, copy)


def _give_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Do as its ``load_state_dict``; groups stay the same objects, which others may share."""
    groups = optimizer.param_groups
    optimizer.load_state_dict(dict(state))
    for group, loaded in zip(groups, optimizer.param_groups, strict=True):
        group.update({name: value for name, value in loaded.items() if name != "params"})
    optimizer.param_groups = groups


def _refill(present: Any, state: Any) -> bool:
    """Fill a tensor or a container with other contents, keeping the object, if possible."""
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
        for key in [key for key in present if key not in state and not is_of_time(str(key))]:
            del present[key]
        for key, value in state.items():
            # Its own default, if there is one, determines the kind of container.
            if not _refill(present[key] if _has_key(present, key) else None, value):
                present[key] = _copied(value, None)
        return True
    if isinstance(present, (list, deque)) and isinstance(state, list):
        if len(present) == len(state) and all(map(_refill, present, state)):
            return True
        device = next((item.device for item in present if isinstance(item, torch.Tensor)), None)
        contents = [_copied(item, device) for item in state]
        present.clear()
        present.extend(contents)
        return True
    return False


def _has_key(mapping: Any, key: Any) -> bool:
    return key in mapping or getattr(mapping, "default_factory", None) is not None


def _copied(value: Any, device: torch.device | None) -> Any:
    """Copy a stored value so that nothing else holds it, its tensors on the holder's device."""
    if isinstance(value, torch.Tensor):
        return value.clone() if device is None else value.clone().to(device)
    if isinstance(value, dict):
        pairs = {key: _copied(item, device) for key, item in value.items()}
        return Counter(pairs) if isinstance(value, Counter) else pairs
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item, device) for item in value)
    return value


def _device(holder: Any) -> torch.device | None:
    """Return the device of a Trainer's tensors."""
    return getattr(getattr(holder, "args", None), "device", None)


def signature(value: Any, *, versions: bool = False) -> bytes | None:
    """Return a digest of a value's contents; None if it cannot be inspected.

    Large tensors are sampled; ``versions`` includes torch's own count of writes to them as well,
    which is valid only in this process. A container that is too large gets the digest of an
    outline: see `is_outline`.
    """
    digest = hashlib.sha256()
    try:
        if type(value) in _NUMBERS:
            return f"{type(value).__name__}{value!r}".encode()
        try:
            _sign(digest, value, [_MOST_LEAVES], versions)
        except OverflowError:
            return _OUTLINE + _outline(value)
    except Exception:
        # An unknown object may fail in any way when it is inspected.
        return None
    return digest.digest()


def is_outline(digest: bytes) -> bool:
    """Return whether a signature is of a container that is too large to be stored."""
    return digest.startswith(_OUTLINE)


def _outline(value: Any) -> bytes:
    """Return a digest of a container's length, and of what is at both its ends."""
    digest = hashlib.sha256(str(len(value)).encode())
    items = value.items() if isinstance(value, Mapping) else value
    ends = [itertools.islice(items, _OUTLINED)] if not isinstance(value, (set, frozenset)) else []
    if hasattr(items, "__reversed__"):
        ends.append(itertools.islice(reversed(items), _OUTLINED))
    for item in itertools.chain.from_iterable(ends):
        with suppress(OverflowError):
            _sign(digest, item, [_OUTLINED_LEAVES], versions=False)
    return digest.digest()


def _sign(digest: Any, value: Any, left: list[int], versions: bool) -> None:
    left[0] -= 1
    if isinstance(value, (list, tuple, deque, set, frozenset, Mapping)):
        if len(value) > left[0]:
            raise OverflowError("more than the state of an attribute")
        digest.update(f"[{len(value)}".encode() if not isinstance(value, Mapping) else b"{")
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode() + _bytes(value, versions))
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        step = max(1, array.size // _SAMPLE) if array.nbytes > _WHOLE else 1
        digest.update(f"{array.dtype}{array.shape}".encode() + array.reshape(-1)[::step].tobytes())
    elif isinstance(value, GENERATORS):
        _sign(digest, _generator_state(value), left, versions)
    elif has_protocol(value):
        _sign(digest, value.state_dict(), left, versions)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not is_of_time(str(key)):
                digest.update(f"{key!r}=".encode())
                _sign(digest, item, left, versions)
    elif isinstance(value, (list, tuple, deque, set, frozenset)):
        for item in sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value:
            _sign(digest, item, left, versions)
    elif isinstance(value, (*PLAIN, *SCALARS)):
        digest.update(f"{type(value).__name__}{value!r}".encode("utf-8", "replace"))
    else:
        # An object of another kind counts as unchanged while it is the same object.
        digest.update(f"{type(value).__name__}".encode())


def _bytes(tensor: torch.Tensor, versions: bool) -> bytes:
    if tensor.is_meta or tensor.layout is not torch.strided:
        return b""
    flat = tensor.detach().reshape(-1)
    if flat.nbytes <= _WHOLE:
        return flat.cpu().contiguous().view(torch.uint8).numpy().tobytes()
    sample = flat[:: max(1, flat.numel() // _SAMPLE)].cpu().contiguous().view(torch.uint8)
    written = f"{tensor._version}".encode() if versions and not tensor.is_inference() else b""
    return sample.numpy().tobytes() + written


def can_store(state: Mapping[str, Any]) -> bool:
    """Return whether a state can be stored: plain data and tensors, no long text."""
    if isinstance(state["state"], str) and len(state["state"]) > _LONGEST_TEXT:
        return False
    try:
        encode(state["state"], "attribute", {})
    except Exception:
        # What is neither plain data nor a tensor is none of the kinds that are followed.
        return False
    return True


def has_tensors(value: Any) -> bool:
    """Return whether there are tensors in a container, a few levels deep."""
    items = value.values() if isinstance(value, Mapping) else value
    return any(
        isinstance(item, torch.Tensor)
        or (isinstance(item, (dict, list, tuple, deque)) and has_tensors(item))
        for item in itertools.islice(items, 100)
    )


def has_protocol(value: Any) -> bool:
    """Return whether it has ``state_dict`` and ``load_state_dict``."""
    has = callable(getattr(value, "state_dict", None))
    has = has and callable(getattr(value, "load_state_dict", None))
    return has and not isinstance(value, type)


def brief(value: Any) -> Any:
    """Return a state in a word: a number, or its kind."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.item()
    return value if isinstance(value, PLAIN) else type(value).__name__

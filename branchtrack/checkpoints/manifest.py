"""The contents of a checkpoint: named tensors by digest, and a small JSON state.

It must not know files, SQL or torch: it computes from bytes and values alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from branchtrack.checkpoints import sharded as sharded_tensors
from branchtrack.checkpoints.sharded import ShardedTensor
from branchtrack.errors import CheckpointDamaged, InvalidInput

if TYPE_CHECKING:
    from _hashlib import HASH

FORMAT = "branchtrack-manifest-1"
#: The format of manifests with sharded tensors; their digest is that of the whole ones.
SHARDED_FORMAT = "branchtrack-manifest-2"
TENSOR_FORMAT = "branchtrack-tensor-1"

# The dtypes of the safetensors format that take whole bytes per element.
DTYPE_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 1),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
}

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class TensorBytes:
    """A tensor as bytes: ``data`` is C-contiguous, little-endian, ``tensor_bytes(...)`` long.

    ``data`` may be given in any format and shape; it is stored as a flat view of bytes.

    Raises:
        InvalidInput: the dtype is unknown, or the length of the data does not match dtype and
        shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", _flat(self.dtype, self.shape, self.data))

    @property
    def nbytes(self) -> int:
        """Return the length of the data in bytes."""
        return self.data.nbytes


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint, named ``<role>/<rest of the name>``, and the digest of its content.

    ``digest`` is the result of `tensor_digest`, 64 hex characters.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str

    @property
    def role(self) -> str:
        """Return what the tensor is part of: ``model``, ``optimizer``, ``scheduler``, ``rng``..."""
        return self.name.partition("/")[0]

    @property
    def nbytes(self) -> int:
        """Return the length of the tensor in bytes."""
        return tensor_bytes(self.dtype, self.shape)


@dataclass(frozen=True)
class Manifest:
    """The complete state of one node: every tensor by digest, and the rest as JSON.

    ``entries`` are the tensors that are stored, pieces of ``sharded`` ones among them. ``state``
    holds str keys and JSON values without NaN or infinity; floats round-trip exactly.
    """

    entries: tuple[Entry, ...]
    state: dict[str, Any]
    sharded: tuple[ShardedTensor, ...] = ()

    @property
    def whole(self) -> tuple[Entry, ...]:
        """The tensors of the state, each whole; those in pieces are stored as their pieces."""
        if not self.sharded:
            return self.entries
        pieces = {name for tensor in self.sharded for name, _, _ in tensor.pieces()}
        joined = [Entry(t.name, t.dtype, t.shape, t.digest) for t in self.sharded]
        return (*(entry for entry in self.entries if entry.name not in pieces), *joined)

    @property
    def digest(self) -> str:
        """Return the state digest: equal for equal states, whatever the order of entries and keys.

        Returns:
            SHA-256, 64 hex characters, over format tag, (name, digest) pairs and state JSON.

        Raises:
            InvalidInput: the state is not JSON, or two entries have one name.
        """
        pairs = sorted((entry.name, entry.digest) for entry in self.whole)
        if len(dict(pairs)) != len(pairs):
            raise InvalidInput("entries", [name for name, _ in pairs], "each name once")
        content = {"format": FORMAT, "tensors": pairs, "state": self.state}
        return hashlib.sha256(canonical_json(content)).hexdigest()

    @property
    def logical_bytes(self) -> int:
        """Return the bytes of all tensors, including those shared with other checkpoints."""
        return sum(entry.nbytes for entry in self.entries)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON object that `from_json` reads."""
        tensors = [[e.name, e.dtype, list(e.shape), e.digest] for e in self.entries]
        if not self.sharded:
            return {"format": FORMAT, "tensors": tensors, "state": self.state}
        joined = [tensor.to_json() for tensor in self.sharded]
        content = {"format": SHARDED_FORMAT, "tensors": tensors, "sharded": joined}
        return {**content, "state": self.state}

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """Return the manifest that `to_json` wrote.

        Raises:
            CheckpointDamaged: the value is anything else.
        """
        if not isinstance(value, dict) or value.get("format") not in (FORMAT, SHARDED_FORMAT):
            raise _nonsense(f"it does not say that it is a {FORMAT}")
        tensors, state = value.get("tensors"), value.get("state")
        if not isinstance(tensors, list) or not isinstance(state, dict):
            raise _nonsense("its tensors are not a list or its state is not an object")
        entries = tuple(_entry(item) for item in tensors)
        if len({entry.name for entry in entries}) != len(tensors):
            raise _nonsense("two of its tensors have one name")
        return cls(entries, state, _sharded(value.get("sharded", []), entries))


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the number of bytes of a tensor of that dtype (safetensors spelling) and shape.

    Raises:
        InvalidInput: unknown dtype, or a negative dimension.
    """
    if dtype not in DTYPE_BYTES:
        raise InvalidInput("dtype", dtype, ", ".join(DTYPE_BYTES))
    if any(size < 0 for size in shape):
        raise InvalidInput("shape", shape, "sizes of zero and more")
    return DTYPE_BYTES[dtype] * math.prod(shape)


def tensor_digest(dtype: str, shape: tuple[int, ...], data: Bytes) -> str:
    """Return the digest that a tensor is stored under.

    Args:
        dtype: safetensors spelling, for example ``"BF16"``.
        shape: sizes; ``()`` for a scalar.
        data: C-contiguous little-endian bytes.

    Returns:
        SHA-256 over dtype, shape and data, 64 hex characters.

    Raises:
        InvalidInput: unknown dtype, or the length of the data does not match dtype and shape.
    """
    flat = _flat(dtype, shape, data)
    hasher = tensor_hasher(dtype, shape)
    hasher.update(flat)
    return hasher.hexdigest()


def tensor_hasher(dtype: str, shape: tuple[int, ...]) -> HASH:
    """Return a hash that is ready for the data in pieces; see `tensor_digest`."""
    # One line that ends with the newline, then data: no two tensors can share an encoding.
    head = f"{TENSOR_FORMAT} {dtype} {'x'.join(map(str, shape))}\n"
    return hashlib.sha256(head.encode("ascii"))


def canonical_json(value: Any) -> bytes:
    """Return the one JSON spelling of a value: keys sorted, no spaces, ASCII, shortest floats.

    Raises:
        InvalidInput: NaN, infinity, a key that is not text, or a type JSON does not have.
    """
    _check_keys(value)
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        what = f"The state cannot be written as JSON: {error}."
        allowed = "text, finite numbers, booleans, null, lists, objects"
        raise InvalidInput("state", str(error), allowed, what=what) from error
    return text.encode("ascii")


def _check_keys(value: Any) -> None:
    """Refuse keys that are not text: JSON turns 1 into "1", which would change the digest."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput("state", key, "keys that are text")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _flat(dtype: str, shape: tuple[int, ...], data: Bytes) -> memoryview:
    """Return the data as a flat view of bytes, their length checked."""
    view = memoryview(data)
    expected = tensor_bytes(dtype, shape)
    if view.nbytes != expected or not view.c_contiguous:
        what = f"A {dtype} tensor of shape {shape} came with {view.nbytes} bytes."
        raise InvalidInput("data", view.nbytes, f"{expected} contiguous bytes", what=what)
    # A view with a zero in its shape cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


def _sharded(items: Any, entries: tuple[Entry, ...]) -> tuple[ShardedTensor, ...]:
    stored = {entry.name: (entry.dtype, entry.shape) for entry in entries}
    try:
        return tuple(sharded_tensors.from_json(item, stored) for item in items)
    except (TypeError, ValueError) as error:
        raise _nonsense(str(error)) from error


def _entry(item: Any) -> Entry:
    """Return one tensor of a manifest's JSON, every field checked."""
    if not isinstance(item, list) or len(item) != 4:
        raise _nonsense("a tensor is not [name, dtype, shape, digest]")
    name, dtype, shape, digest = item
    if not isinstance(name, str) or not name:
        raise _nonsense(f"a tensor is named {name!r}")
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _nonsense(f"{name!r} has dtype {dtype!r}", tensor=name)
    if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
        raise _nonsense(f"{name!r} has shape {shape!r}", tensor=name)
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise _nonsense(f"{name!r} has digest {digest!r}", tensor=name)
    return Entry(name, dtype, tuple(shape), digest)


def _nonsense(reason: str, tensor: str = "") -> CheckpointDamaged:
    return CheckpointDamaged(
        f"The manifest of a checkpoint is damaged: {reason}.",
        safe="Other nodes are untouched.",
        fix="Resume from another node; `branchtrack verify --all` lists which are damaged.",
        node=None,
        path="",
        tensor=tensor,
    )

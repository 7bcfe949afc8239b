"""The header of a safetensors file: its layout, and its safe reading and writing.

It must not know the store, digests of tensors or torch. Input is treated as hostile: nothing is
allocated because of a header that has not been checked against the file's size.

Source: the safetensors format, https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from branchtrack.checkpoints.manifest import DTYPE_BYTES, tensor_bytes
from branchtrack.errors import InvalidInput

MAX_HEADER = 100_000_000
ALIGNMENT = 8
_PREFIX = 8


class BadHeader(Exception):
    """A fault in a header; the store turns it into `CheckpointDamaged`."""


@dataclass(frozen=True)
class Slot:
    """A tensor's position: ``begin`` and ``end`` in bytes after the header, as in the format."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header; ``raw`` is all of it, with its length in front and padding included."""

    raw: bytes
    slots: dict[str, Slot]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def data_start(self) -> int:
        """Return the offset of the tensor bytes from the start of the file."""
        return len(self.raw)

    @property
    def file_bytes(self) -> int:
        """Return the length of the whole file in bytes."""
        return self.data_start + max((slot.end for slot in self.slots.values()), default=0)


def lay_out(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> tuple[Slot, ...]:
    """Return the slots of (name, dtype, shape) triples, without gaps, as the format demands.

    Each tensor begins at a multiple of its element size. Tensors whose length is a multiple of 8
    come first, so all of these begin at a multiple of 8; within both groups larger elements come
    first.

    Raises:
        InvalidInput: a name given twice, empty or reserved, or an unknown dtype.
    """
    measured = [(name, dtype, shape, tensor_bytes(dtype, shape)) for name, dtype, shape in tensors]
    names = [name for name, *_ in measured]
    if len(set(names)) != len(names) or {"", "__metadata__"} & set(names):
        raise InvalidInput("tensors", names, "distinct names, none empty or '__metadata__'")
    measured.sort(key=lambda item: (item[3] % ALIGNMENT != 0, -DTYPE_BYTES[item[1]], item[0]))
    slots, begin = [], 0
    for name, dtype, shape, nbytes in measured:
        slots.append(Slot(name, dtype, shape, begin, begin + nbytes))
        begin += nbytes
    return tuple(slots)


def build(slots: Iterable[Slot], metadata: Mapping[str, str]) -> Header:
    """Return the header for these slots.

    Raises:
        InvalidInput: it would be longer than readers of the format accept (100 MB).
    """
    placed = {slot.name: slot for slot in slots}
    content: dict[str, Any] = {"__metadata__": dict(metadata)}
    for slot in placed.values():
        where = [slot.begin, slot.end]
        content[slot.name] = {"dtype": slot.dtype, "shape": slot.shape, "data_offsets": where}
    text = json.dumps(content, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise InvalidInput("tensors", len(placed), f"a header of up to {MAX_HEADER} bytes")
    return Header(len(text).to_bytes(_PREFIX, "little") + text, placed, dict(metadata))


def read_raw(file: BinaryIO, file_bytes: int) -> bytes:
    """Return the bytes of the header, with its length in front, from the start of a file.

    Raises:
        BadHeader: the file is too short for it, or it is longer than the format allows.
    """
    prefix = file.read(_PREFIX)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < _PREFIX or length > MAX_HEADER or length > file_bytes - _PREFIX:
        raise BadHeader(f"a header of {length} bytes does not fit a file of {file_bytes} bytes")
    raw = prefix + file.read(length)
    if len(raw) != _PREFIX + length:
        raise BadHeader("the file ends inside its header")
    return raw


def parse(raw: bytes, file_bytes: int) -> Header:
    """Return the header in these bytes, proved to describe a file of exactly that length.

    Raises:
        BadHeader: it is not JSON of the right form, or its slots overlap, leave gaps or overrun.
    """
    try:
        content = json.loads(raw[_PREFIX:])
    except (ValueError, RecursionError) as error:
        raise BadHeader("it is not JSON") from error
    if not isinstance(content, dict):
        raise BadHeader("it is not a JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or any(type(text) is not str for text in metadata.values()):
        raise BadHeader("its metadata are not text")
    slots = {name: _slot(name, value) for name, value in content.items()}
    _check_places(slots.values(), file_bytes - len(raw))
    return Header(raw, slots, metadata)


def _slot(name: str, value: Any) -> Slot:
    """Return the slot of one tensor in the header, every value checked."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadHeader(f"{name!r} lacks dtype, shape or offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise BadHeader(f"{name!r} has dtype {dtype!r}")
    if not _is_sizes(shape) or not _is_sizes(offsets) or len(offsets) != 2:
        raise BadHeader(f"{name!r} has a shape or offsets that are not counts")
    begin, end = offsets
    if end - begin != tensor_bytes(dtype, tuple(shape)):
        raise BadHeader(f"{name!r} has a size in bytes that does not match its shape")
    return Slot(name, dtype, tuple(shape), begin, end)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_places(slots: Iterable[Slot], data_bytes: int) -> None:
    """Check that the tensors cover the rest of the file: each byte once, none beyond its end."""
    position = 0
    for slot in sorted(slots, key=lambda slot: (slot.begin, slot.end)):
        if slot.begin != position:
            raise BadHeader(f"{slot.name!r} overlaps another tensor or leaves a gap")
        position = slot.end
    if position != data_bytes:
        raise BadHeader(f"it describes {position} bytes of tensors, the file has {data_bytes}")

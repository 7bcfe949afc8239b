"""How far apart the weights of two checkpoints are, by module, seen from the one that both left.

Packs are read with numpy in pieces, of each tensor at most a piece at a time; tensors that are
equal by their digests are not read. It knows no SQL and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branchtrack.checkpoints import sharded
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import StoredCheckpoint

#: Rows of a comparison; further modules are one row.
ROWS = 24
OTHER = "other"
#: Elements that are read of a tensor at once.
_PIECE = 1 << 18
_MODEL = "model/"
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass
class Row:
    """A module: sums of squares over its tensors that are not the same everywhere.

    ``gap`` is of ``a - b``, ``base`` of the weights at the fork, ``moved_a`` and ``moved_b`` of
    what each moved since, ``along`` the product of the two moves. ``equal`` of its ``tensors`` are
    the same in both; ``elements`` counts the weights of all.
    """

    name: str
    tensors: int = 0
    equal: int = 0
    elements: int = 0
    gap: float = 0.0
    base: float = 0.0
    moved_a: float = 0.0
    moved_b: float = 0.0
    along: float = 0.0

    @property
    def distance(self) -> float:
        """Return ``|a - b| / |fork|``; 0 if nothing differs."""
        return math.sqrt(self.gap) / math.sqrt(self.base) if self.base else self.gap and math.inf

    @property
    def cosine(self) -> float | None:
        """Return the cosine between the moves of both, or None if one did not move."""
        lengths = math.sqrt(self.moved_a) * math.sqrt(self.moved_b)
        if not lengths:
            return None
        # Rounding takes it a little beyond 1.
        return lengths if math.isnan(lengths) else max(-1.0, min(1.0, self.along / lengths))

    def add(self, other: Row) -> None:
        """Add the sums of another row."""
        for name in ("tensors", "equal", "elements", "gap", "base", "moved_a", "moved_b", "along"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Distances:
    """The rows of two checkpoints and their total; what could not be compared is counted.

    ``integers`` are tensors that are no floats, ``unmatched`` those that a side lacks or has in
    another shape. Without ``has_fork`` distances are of the weights of ``a``, and there are no
    cosines.
    """

    rows: list[Row]
    total: Row
    has_fork: bool
    integers: int = 0
    unmatched: int = 0


@dataclass(frozen=True)
class _Tensor:
    """A tensor of all sides: (dtype, digest) of ``a``, ``b`` and the fork."""

    name: str
    elements: int
    sides: tuple[tuple[str, str], ...]

    @property
    def module(self) -> tuple[str, ...]:
        """Return the parts of the name without the parameter's own."""
        parts = self.name.split(".")
        return tuple(parts[:-1] or parts)

    @property
    def digests(self) -> list[str]:
        return [digest for _dtype, digest in self.sides]


@dataclass
class _Matched:
    tensors: list[_Tensor] = field(default_factory=list)
    integers: int = 0
    unmatched: int = 0


def compare(
    store: Store, a: StoredCheckpoint, b: StoredCheckpoint, fork: StoredCheckpoint | None
) -> Distances:
    """Return the distances between the weights of two checkpoints.

    Raises:
        CheckpointMissing, CheckpointDamaged, StorageError: a tensor cannot be read.
    """
    checkpoints = (a, b, a if fork is None else fork)
    matched = _matched(checkpoints)
    names = _groups([tensor.module for tensor in matched.tensors])
    rows: dict[str, Row] = {}
    for tensor, name in zip(matched.tensors, names, strict=True):
        row = rows.setdefault(name, Row(name))
        # Weights that overflowed make sums that are not numbers, which is what there is to say.
        with np.errstate(invalid="ignore", over="ignore"):
            row.add(_measured(store, checkpoints, tensor))
    total = Row("all")
    for row in rows.values():
        total.add(row)
    return Distances(
        _shortened(list(rows.values())),
        total,
        fork is not None,
        matched.integers,
        matched.unmatched,
    )


def to_read(a: StoredCheckpoint, b: StoredCheckpoint, fork: StoredCheckpoint | None) -> int:
    """Return how many bytes `compare` reads."""
    tensors = _matched((a, b, a if fork is None else fork)).tensors
    return sum(
        _BYTES[dtype] * tensor.elements
        for tensor in tensors
        for dtype, _digest in (dict(zip(tensor.digests, tensor.sides, strict=True)).values())
        if len(set(tensor.digests)) > 1
    )


def _matched(checkpoints: Sequence[StoredCheckpoint]) -> _Matched:
    """Return the tensors of a model that all checkpoints have.

    What is tied wherever it is counts once, whichever checkpoint comes first.
    """
    sides = [_entries(checkpoint) for checkpoint in checkpoints]
    tied = [_second_names(checkpoint.manifest.get("state") or {}) for checkpoint in checkpoints]
    matched = _Matched()
    for name in dict.fromkeys(name for side in sides for name in side):
        entries = [side[name] for side in sides if name in side]
        shapes = {tuple(shape) for _dtype, shape, _digest in entries}
        if all(name in names for side, names in zip(sides, tied, strict=True) if name in side):
            continue
        if any(dtype not in _BYTES for dtype, _shape, _digest in entries):
            matched.integers += 1
        elif len(entries) < len(sides) or len(shapes) > 1:
            matched.unmatched += 1
        else:
            elements = math.prod(next(iter(shapes)))
            pairs = tuple((dtype, digest) for dtype, _shape, digest in entries)
            matched.tensors.append(_Tensor(name, elements, pairs))
    return matched


def _entries(checkpoint: StoredCheckpoint) -> dict[str, tuple[str, list[int], str]]:
    return {
        name.removeprefix(_MODEL): (dtype, shape, digest)
        for name, dtype, shape, digest in sharded.whole_entries(checkpoint.manifest)
        if name.startswith(_MODEL)
    }


def _second_names(state: Mapping[str, Any]) -> set[str]:
    """Return the names under which tied tensors are listed once more."""
    return {name.removeprefix(_MODEL) for name in state.get("aliases") or {}}


def _measured(store: Store, checkpoints: Sequence[StoredCheckpoint], tensor: _Tensor) -> Row:
    a, b, fork = tensor.digests
    row = Row("", 1, int(a == b), tensor.elements)
    if a == b == fork:
        return row
    readers = {
        digest: _read(store, checkpoint, dtype, digest)
        for checkpoint, (dtype, digest) in zip(checkpoints, tensor.sides, strict=True)
    }
    # All to their ends: only there are the bytes proved.
    for pieces in zip(*readers.values(), strict=True):
        by_digest = dict(zip(readers, pieces, strict=True))
        base = by_digest[fork]
        row.gap += _squares(by_digest[a] - by_digest[b])
        row.base += _squares(base)
        moved_a, moved_b = by_digest[a] - base, by_digest[b] - base
        row.moved_a += _squares(moved_a)
        row.moved_b += _squares(moved_b)
        row.along += float(np.dot(moved_a, moved_b))
    return row


def _read(
    store: Store, checkpoint: StoredCheckpoint, dtype: str, digest: str
) -> Iterator[NDArray[np.float64]]:
    size, held = _PIECE * _BYTES[dtype], b""
    # Ranks may have stored it in parts of any length.
    for stored in sharded.stored_digests(checkpoint.manifest).get(digest, [digest]):
        for piece in store.pieces(checkpoint.locations[stored], size):
            held += piece
            if len(held) >= size:
                yield _numbers(held[:size], dtype)
                held = held[size:]
    if held:
        yield _numbers(held, dtype)


def _numbers(data: bytes, dtype: str) -> NDArray[np.float64]:
    if dtype == "BF16":
        # The upper half of a float32.
        halves = np.frombuffer(data, "<u2").astype("<u4") << 16
        return halves.view("<f4").astype(np.float64)
    return np.frombuffer(data, _FLOATS[dtype]).astype(np.float64)


def _squares(values: NDArray[np.float64]) -> float:
    return float(np.dot(values, values))


def _groups(modules: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the name of each module's row: as many levels as give no more rows than `ROWS`."""
    shared = 0
    # The name of a list stays before the numbers of its layers.
    while len({module[: shared + 1] for module in modules}) == 1 and all(
        len(module) > shared + 1 and not module[shared + 1].isdigit() for module in modules
    ):
        shared += 1
    below = [module[shared:] for module in modules]
    deepest = max((len(module) for module in below), default=1)
    for depth in range(deepest, 1, -1):
        if len({module[:depth] for module in below}) <= ROWS:
            return [".".join(module[:depth]) for module in below]
    return [module[0] for module in below]


def _shortened(rows: list[Row]) -> list[Row]:
    """Return at most `ROWS` rows: those with the most weights, and the others in one."""
    if len(rows) <= ROWS:
        return rows
    largest = sorted(rows, key=lambda row: -row.elements)[: ROWS - 1]
    names = {row.name for row in largest}
    other = Row(OTHER)
    for row in rows:
        if row.name not in names:
            other.add(row)
    return [*(row for row in rows if row.name in names), other]

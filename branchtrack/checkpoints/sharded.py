"""Tensors that several processes hold in pieces, each some rows of the whole.

A manifest lists each piece as a tensor of its own, named ``<name>@<first row>``, with its own
digest and location; beside them it says what the pieces make together. The whole has the digest
that it would have if one process held it: how a state was divided does not change what it is. It
must not know files, SQL or torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MARK = "@"


@dataclass(frozen=True)
class ShardedTensor:
    """A tensor in pieces: ``shape`` and ``digest`` are those of the whole, ``starts`` the first row
    of each piece, ascending from 0. Every piece reaches to where the next one starts.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str
    starts: tuple[int, ...]

    def pieces(self) -> Iterator[tuple[str, int, int]]:
        """Yield (name, first row, row after the last) of each piece."""
        ends = (*self.starts[1:], self.shape[0])
        for start, end in zip(self.starts, ends, strict=True):
            yield piece_name(self.name, start), start, end

    def to_json(self) -> list[Any]:
        """Return the form that `from_json` reads.

        The digest is not its last item: what ends with one is a stored tensor.
        """
        return [self.name, self.dtype, list(self.shape), self.digest, list(self.starts)]


def piece_name(name: str, start: int) -> str:
    """Return the name under which a piece is stored."""
    return f"{name}{_MARK}{start}"


def from_json(value: Any, stored: Mapping[str, tuple[str, tuple[int, ...]]]) -> ShardedTensor:
    """Return a sharded tensor from JSON; ``stored`` are dtype and shape of every tensor by name.

    Raises:
        ValueError: it is something else, or its pieces do not make the whole.
    """
    name, dtype, shape, digest, starts = value
    if not (isinstance(name, str) and isinstance(digest, str) and len(digest) == 64):
        raise ValueError("a sharded tensor has no name or no digest")
    numbers = [*shape, *starts]
    if not starts or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"{name!r} has shape {shape!r} and pieces at {starts!r}")
    tensor = ShardedTensor(name, dtype, tuple(shape), digest, tuple(starts))
    if list(starts) != sorted(set(starts)) or starts[0] != 0 or not shape:
        raise ValueError(f"the pieces of {name!r} begin at {starts!r}")
    for piece, start, end in tensor.pieces():
        if stored.get(piece) != (dtype, (end - start, *tensor.shape[1:])):
            raise ValueError(f"piece {piece!r} is not what {name!r} needs")
    return tensor


def whole_entries(manifest: Mapping[str, Any]) -> list[list[Any]]:
    """Return the (name, dtype, shape, digest) of each tensor of a manifest's JSON, whole."""
    listed: list[list[Any]] = manifest["tensors"]
    sharded = [_parsed(item) for item in manifest.get("sharded", ())]
    pieces = {name for tensor in sharded for name, _, _ in tensor.pieces()}
    joined = [[t.name, t.dtype, list(t.shape), t.digest] for t in sharded]
    return [*(entry for entry in listed if entry[0] not in pieces), *joined]


def stored_digests(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return for the digest of each sharded tensor of a manifest's JSON those of its pieces."""
    digests = {name: digest for name, _dtype, _shape, digest in manifest["tensors"]}
    sharded = [_parsed(item) for item in manifest.get("sharded", ())]
    return {t.digest: [digests[name] for name, _, _ in t.pieces()] for t in sharded}


def _parsed(item: Any) -> ShardedTensor:
    name, dtype, shape, digest, starts = item
    return ShardedTensor(name, dtype, tuple(shape), digest, tuple(starts))

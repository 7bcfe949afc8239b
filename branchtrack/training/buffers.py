"""Host memory that snapshots are copied into: allocated once, touched ahead, used again.

It knows tensors by name, and nothing of what they are part of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch

from branchtrack.training import copying

_PAGE = 4096
_numbers = count(1)


@dataclass
class _Held:
    """A buffer, where its bytes came from, and which writing they are of."""

    tensor: torch.Tensor
    source: tuple[int, int] | None = None
    writing: int = 0


_Pair = tuple[_Held, torch.Tensor]


class Buffers:
    """Host memory that snapshots are copied into, allocated once and used again.

    Costs one copy of the state in memory: every tensor captured has one buffer of its size, tied
    ones share theirs, and what the last snapshot did not use is given back. A snapshot's tensors
    stay valid until the next one.

    ``writings`` numbers, by name, the writing that each tensor of the last snapshot is of: where
    the number is that of an earlier snapshot, the bytes are proved to be the same.
    """

    def __init__(self) -> None:
        self.writings: dict[str, int] = {}
        self._held: dict[str, _Held] = {}

    def copy(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each tensor copied to the host; tensors that share storage and shape are copied once.

        One whose version counter has not moved is compared with its buffer instead, byte by byte
        (``.data`` and numpy write behind the counter's back), which takes no longer than a copy.
        """
        seen: dict[Any, _Held] = {}
        held: dict[str, _Held] = {}
        pairs: list[_Pair] = []
        taken: set[int] = set()
        for name, tensor in tensors.items():
            source = tensor.detach()
            key = (source.data_ptr(), source.dtype, source.shape, source.stride())
            if source.numel() and key in seen:
                held[name] = seen[key]
                continue
            mine = held[name] = seen[key] = self._buffer(name, source, taken)
            taken.add(id(mine))
            pairs.append((mine, source))
        self._held = held
        _write(_changed(pairs))
        self.writings = {name: one.writing for name, one in held.items()}
        return {name: one.tensor for name, one in held.items()}

    def reserve(self, sizes: Mapping[str, tuple[torch.Size, torch.dtype]]) -> None:
        """Allocate and touch what the next snapshot will need, unless it is held already.

        Else the first copy waits for the system to find and clear every page. Runs on one thread
        beside a training; no snapshot may be taken or in use meanwhile.
        """
        for name, (shape, dtype) in sizes.items():
            if name not in self._held:
                made = torch.empty(shape, dtype=dtype, device="cpu")
                self._held[name] = _Held(made)
                if made.numel():
                    # numpy lets go of the interpreter, and starts no threads of its own.
                    made.reshape(-1).view(torch.uint8).numpy()[::_PAGE] = 0

    def _buffer(self, name: str, like: torch.Tensor, taken: set[int]) -> _Held:
        held = self._held.get(name)
        # One that tied tensors shared is taken by the first of them when they are tied no more.
        if held is not None and id(held) not in taken:
            if held.tensor.shape == like.shape and held.tensor.dtype == like.dtype:
                return held
        return _Held(torch.empty(like.shape, dtype=like.dtype, device="cpu"))


class Sizes(Buffers):
    """Takes the place of buffers to learn what a snapshot needs; copies nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, tuple[torch.Size, torch.dtype]] = {}

    def copy(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Note the shape and dtype of each tensor that would have a buffer of its own."""
        seen: set[Any] = set()
        for name, tensor in tensors.items():
            key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            if key not in seen or not tensor.numel():
                self.sizes[name] = tensor.shape, tensor.dtype
            seen.add(key)
        return {}


def _changed(pairs: list[_Pair]) -> list[_Pair]:
    """Those pairs whose buffer has to be written."""
    perhaps = [place for place, (held, source) in enumerate(pairs) if _may_be_same(held, source)]
    found = copying.equal([(pairs[place][0].tensor, pairs[place][1]) for place in perhaps])
    same = {place for place, is_same in zip(perhaps, found, strict=True) if is_same}
    return [pair for place, pair in enumerate(pairs) if place not in same]


def _write(pairs: list[_Pair]) -> None:
    for held, _ in pairs:
        # Before the copy: one that fails half way must not pass for what was there.
        held.writing, held.source = next(_numbers), None
    copying.copy([held.tensor for held, _ in pairs], [source for _, source in pairs])
    for held, source in pairs:
        held.source = _origin(source)


def _may_be_same(held: _Held, source: torch.Tensor) -> bool:
    known = held.source is not None and held.source == _origin(source)
    return known and copying.is_plain(source)


def _origin(tensor: torch.Tensor) -> tuple[int, int] | None:
    """What stays the same while nobody writes to a tensor in torch's own ways."""
    # Tensors made in inference mode have no version counter.
    return None if tensor.is_inference() else (tensor.data_ptr(), tensor._version)

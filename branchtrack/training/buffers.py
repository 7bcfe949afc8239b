"""Host memory that snapshots are copied into: allocated once, touched ahead, used again.

It knows tensors by name, and nothing of what they are part of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch

_PAGE = 4096
_numbers = count(1)


@dataclass
class _Held:
    """A buffer, where its bytes came from, and which writing they are of."""

    tensor: torch.Tensor
    source: tuple[int, int] | None = None
    writing: int = 0


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
        sources: list[torch.Tensor] = []
        targets: list[_Held] = []
        taken: set[int] = set()
        for name, tensor in tensors.items():
            source = tensor.detach()
            key = (source.data_ptr(), source.dtype, source.shape, source.stride())
            if source.numel() and key in seen:
                held[name] = seen[key]
                continue
            mine = held[name] = seen[key] = self._buffer(name, source, taken)
            taken.add(id(mine))
            if not _is_unchanged(source, mine):
                sources.append(source)
                targets.append(mine)
        self._held = held
        _write(targets, sources)
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


def _write(targets: list[_Held], sources: list[torch.Tensor]) -> None:
    for target in targets:
        # Before the copy: one that fails half way must not pass for what was there.
        target.writing, target.source = next(_numbers), None
    if targets:
        # With all of torch's threads it reaches what one copy of as many bytes takes; see
        # tests/benchmarks/bench_snapshot.py.
        torch._foreach_copy_([target.tensor for target in targets], sources)
    for target, source in zip(targets, sources, strict=True):
        target.source = _origin(source)


def _origin(tensor: torch.Tensor) -> tuple[int, int] | None:
    """What is the same where nobody has written to a tensor in torch's own ways."""
    # Tensors made in inference mode have no version counter.
    return None if tensor.is_inference() else (tensor.data_ptr(), tensor._version)


def _is_unchanged(source: torch.Tensor, held: _Held) -> bool:
    if held.source is None or source.device.type != "cpu" or not source.is_contiguous():
        return False
    return held.source == _origin(source) and _same_bytes(source, held.tensor)


def _same_bytes(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two contiguous host tensors are equal bit for bit, NaN and signs of zero included."""
    whole = a.numel() * a.element_size() % 8 == 0 and a.data_ptr() % 8 == 0
    # Whole words compare as fast as memory is read; bytes would take ten times as long.
    kind = torch.int64 if whole else torch.uint8
    left, right = (tensor.reshape(-1).view(torch.uint8).view(kind) for tensor in (a, b))
    return torch.equal(left, right)

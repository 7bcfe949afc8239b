"""Host memory that snapshots are copied into: allocated once, used again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class Buffers:
    """Host memory that snapshots are copied into, allocated once and used again.

    Costs one copy of the state in memory. A snapshot's tensors stay valid until the next one.
    """

    def __init__(self) -> None:
        self._held: dict[str, torch.Tensor] = {}

    def copy(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each tensor copied to the host; tensors that share storage and shape are copied once."""
        seen: dict[Any, str] = {}
        copied: dict[str, torch.Tensor] = {}
        targets: list[torch.Tensor] = []
        sources: list[torch.Tensor] = []
        used: set[int] = set()
        for name, tensor in tensors.items():
            source = tensor.detach()
            key = (source.data_ptr(), source.dtype, source.shape, source.stride())
            if source.numel() and key in seen:
                copied[name] = copied[seen[key]]
                continue
            seen[key] = name
            copied[name] = self._buffer(name, source, used)
            used.add(id(copied[name]))
            targets.append(copied[name])
            sources.append(source)
        if targets:
            torch._foreach_copy_(targets, sources)
        self._held = copied
        return copied

    def _buffer(self, name: str, like: torch.Tensor, used: set[int]) -> torch.Tensor:
        held = self._held.get(name)
        # One that tied tensors shared is taken by the first of them when they are tied no more.
        if held is not None and id(held) not in used:
            if held.shape == like.shape and held.dtype == like.dtype:
                return held
        return torch.empty(like.shape, dtype=like.dtype, device="cpu")

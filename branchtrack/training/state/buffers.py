"""Host memory that snapshots are copied into: allocated once, touched ahead, reused.

It knows tensors by name, and nothing of what they are part of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch

from branchtrack.training.state import memcpy

_PAGE = 4096
#: Snapshots for which a tensor that changed without its version counter is not compared again.
_REST = 8
_numbers = count(1)


#: A tensor's address and version: unchanged while it is not written in torch's own ways.
_Origin = tuple[int, int]
_Form = tuple[torch.dtype, torch.Size]
Rest = Callable[[], Mapping[str, torch.Tensor]]


@dataclass(slots=True)
class _Held:
    """A buffer, where its bytes came from, which writing they are of, and when to compare again."""

    tensor: torch.Tensor
    form: _Form
    origin: _Origin | None = None
    writing: int = 0
    rest: int = 0


_Source = tuple[_Held, torch.Tensor, _Origin | None]


class Buffers:
    """Host memory that snapshots are copied into, allocated once and reused.

    Costs one copy of the state in memory: every tensor captured has one buffer of its size, tied
    ones share theirs, and what the last snapshot did not use is freed. A snapshot's tensors stay
    valid until the next one.

    ``writings`` numbers, by name, the writing that each tensor of the last snapshot is of: if the
    number is that of an earlier snapshot, the bytes are proved to be the same. ``aliases`` maps the
    names that stand for another name to that name.
    """

    def __init__(self) -> None:
        self.writings: dict[str, int] = {}
        self.aliases: dict[str, str] = {}
        self._held: dict[str, _Held] = {}

    def copy(
        self, tensors: Mapping[str, torch.Tensor], rest: Rest | None = None
    ) -> dict[str, torch.Tensor]:
        """Copy each tensor to the host; tensors that share storage and shape are copied once.

        ``rest`` is called during the copy, and returns more of them.

        A tensor whose version counter has not moved is first compared with its buffer, byte by
        byte: fused optimizers, ``.data`` and numpy write without the counter. That takes no longer
        than a copy, and saves the hashing.
        """
        self.aliases = {}
        names: list[str] = []
        held: dict[str, _Held] = {}
        seen: dict[int, list[tuple[str, torch.Tensor]]] = {}
        written: list[_Source] = []
        with memcpy.Copy() as team:
            for give in (lambda: tensors, rest):
                named_tensors = give() if give is not None else {}
                names += named_tensors
                written += _write(self._sources(named_tensors, held, seen), team)
        for buffer, _, origin in written:
            buffer.origin = origin
        self._held = held
        everything = {name: held[self.aliases.get(name, name)] for name in names}
        self.writings = {name: buffer.writing for name, buffer in everything.items()}
        return {name: buffer.tensor for name, buffer in everything.items()}

    def reserve(self, forms: Mapping[str, _Form]) -> None:
        """Allocate and touch what the next snapshot will need, unless it is held already.

        Otherwise the first copy waits for the system to find and clear every page. Runs on one
        thread beside a training; no snapshot may be taken or in use meanwhile.
        """
        for name, form in forms.items():
            if name not in self._held:
                held = self._held[name] = _made(form)
                if held.tensor.numel():
                    # numpy releases the interpreter lock, and starts no threads of its own.
                    held.tensor.reshape(-1).view(torch.uint8).numpy()[::_PAGE] = 0

    def _sources(
        self,
        tensors: Mapping[str, torch.Tensor],
        held: dict[str, _Held],
        seen: dict[int, list[tuple[str, torch.Tensor]]],
    ) -> list[_Source]:
        """Return what to copy; adds to the buffers ``held`` by name, and to what it has seen."""
        sources: list[_Source] = []
        for name, tensor in tensors.items():
            address, form = tensor.data_ptr(), (tensor.dtype, tensor.shape)
            # Hardly any two share an address: only those that do are compared further.
            sharing = seen.setdefault(address, [])
            first = next((alias for alias, other in sharing if _is_alias(tensor, other)), None)
            if first is not None and tensor.numel():
                self.aliases[name] = first
                continue
            sharing.append((name, tensor))
            buffer = held[name] = self._buffer(name, form)
            # Tensors made in inference mode have no version counter.
            origin = None if tensor.is_inference() else (address, tensor._version)
            sources.append((buffer, tensor, origin))
        return sources

    def _buffer(self, name: str, form: _Form) -> _Held:
        held = self._held.get(name)
        return held if held is not None and held.form == form else _made(form)


class Forms(Buffers):
    """Takes the place of buffers to learn what a snapshot needs; copies nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, _Form] = {}

    def copy(
        self, tensors: Mapping[str, torch.Tensor], rest: Rest | None = None
    ) -> dict[str, torch.Tensor]:
        """Note dtype and shape of each tensor that would have a buffer of its own."""
        seen: set[Any] = set()
        for name, tensor in [*tensors.items(), *(rest() if rest else {}).items()]:
            key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            if key not in seen or not tensor.numel():
                self.found[name] = tensor.dtype, tensor.shape
            seen.add(key)
        return {}


def _is_alias(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors at one address are the same elements."""
    same_form = tensor.dtype == other.dtype and tensor.shape == other.shape
    return same_form and tensor.stride() == other.stride()


def _made(form: _Form) -> _Held:
    dtype, shape = form
    return _Held(torch.empty(shape, dtype=dtype, device="cpu"), form)


def _changed(sources: list[_Source]) -> list[_Source]:
    """Return those whose buffer has to be written."""
    perhaps = [index for index, source in enumerate(sources) if _may_be_same(*source)]
    matches = memcpy.equal([(sources[index][0].tensor, sources[index][1]) for index in perhaps])
    same = {index for index, is_same in zip(perhaps, matches, strict=True) if is_same}
    for index in perhaps:
        sources[index][0].rest = 0 if index in same else _REST
    return [source for index, source in enumerate(sources) if index not in same]


def _may_be_same(held: _Held, tensor: torch.Tensor, origin: _Origin | None) -> bool:
    if origin is None or held.origin != origin or not memcpy.is_plain(tensor):
        return False
    held.rest = max(0, held.rest - 1)
    return held.rest == 0


def _write(sources: list[_Source], team: memcpy.Copy) -> list[_Source]:
    """Write those that have changed, and return them."""
    changed = _changed(sources)
    for held, _, _ in changed:
        # Before the copy: one that fails half way must not pass for the earlier content.
        held.writing, held.origin = next(_numbers), None
    team.add([(held.tensor, tensor) for held, tensor, _ in changed])
    return changed

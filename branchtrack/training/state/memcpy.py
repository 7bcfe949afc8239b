"""Copying and comparing many tensors in host memory at memory speed, on a busy machine too.

torch works on each tensor with a team of threads that waits for its slowest, once for every
tensor: on a machine whose cores are all taken that can take fifty times as long as one plain copy.
Here a few threads take pieces from one heap, so that a thread waits only for a piece at the end.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Self

import torch

#: Bytes of a piece: small against the whole, large against the cost of fetching one.
_PIECE = 1 << 22
#: Maximum bytes of the first piece: while it is copied, a helper needs no interpreter.
_FIRST = 1 << 26
#: More threads than this only wait for memory.
_THREADS = 8

_Pair = tuple[torch.Tensor, torch.Tensor]
#: The pair's index among the pairs, target, source, and bytes. A plain tuple: there are many.
_Part = tuple[int, int, int, int]
_Work = Callable[[int, int, int, int], object]

_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Team:
    """Threads that do ``work`` for every part of every pair that is added, within a ``with`` block.

    They start with the first pair; the thread that adds them takes part at the end of the block.
    As many threads as torch is set to use, 8 at most.
    """

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._heap: SimpleQueue[list[_Part] | None] = SimpleQueue()
        self._helpers: list[threading.Thread] = []

    def add(self, pairs: Sequence[_Pair]) -> None:
        """Queue pairs for the work, the largest tensors first."""
        pieces = list(_pieces(pairs))
        for piece in pieces:
            self._heap.put(piece)
        helper_count = min(torch.get_num_threads(), _THREADS, len(pieces)) - 1
        while len(self._helpers) < helper_count:
            helper = threading.Thread(target=self._take)
            self._helpers.append(helper)
            helper.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _end in [self, *self._helpers]:
            self._heap.put(None)
        self._take()
        for helper in self._helpers:
            helper.join()

    def _take(self) -> None:
        while (piece := self._heap.get()) is not None:
            for segment in piece:
                self._work(*segment)


class Copy(Team):
    """Copies sources to targets that are contiguous, on the host, of their shape and dtype."""

    def __init__(self) -> None:
        # ctypes releases the interpreter lock meanwhile.
        super().__init__(lambda _place, target, source, size: ctypes.memmove(target, source, size))

    def add(self, pairs: Sequence[_Pair]) -> None:
        """Queue the copy of each source to its target."""
        plain: list[_Pair] = []
        others: list[_Pair] = []
        for pair in pairs:
            (plain if is_plain(pair[1]) else others).append(pair)
        super().add(plain)
        if others:
            with torch.no_grad():
                torch._foreach_copy_(
                    [target for target, _ in others], [source for _, source in others]
                )


def equal(pairs: Sequence[_Pair]) -> list[bool]:
    """Return whether the tensors of each pair are equal bit for bit, NaN and signed zeros too.

    Each pair is plain and of one shape and dtype.
    """
    results = [True] * len(pairs)

    def look(index: int, target: int, source: int, size: int) -> None:
        if results[index] and _compare(target, source, size):
            results[index] = False

    with Team(look) as team:
        team.add(pairs)
    return results


def is_plain(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is one row of bytes in host memory."""
    return tensor.is_cpu and tensor.is_contiguous()


def _pieces(pairs: Sequence[_Pair]) -> Iterator[list[_Part]]:
    """Yield parts of about one piece's bytes together; only the largest tensor exceeds it."""
    rows = [(index, a.data_ptr(), b.data_ptr(), b.nbytes) for index, (a, b) in enumerate(pairs)]
    rows.sort(key=lambda row: row[3], reverse=True)
    piece: list[_Part] = []
    room = min(_FIRST, max(_PIECE, rows[0][3])) if rows else 0
    for index, target, source, left in rows:
        while left:
            size = min(left, room)
            piece.append((index, target, source, size))
            target, source, left, room = target + size, source + size, left - size, room - size
            if not room:
                yield piece
                piece, room = [], _PIECE
    if piece:
        yield piece

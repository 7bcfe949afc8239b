"""Copying and comparing many tensors in host memory as fast as memory goes, on a busy machine too.

torch works on each tensor with a team of threads that waits for its slowest, once for every
tensor: on a machine whose cores are all taken that can take fifty times as long as one plain copy.
Here a few threads take pieces from one heap, so that nobody waits but for a piece at the very end.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

#: Bytes of a piece: small against the whole, large against what it takes to fetch one.
_PIECE = 1 << 22
#: More threads than this only wait for memory.
_THREADS = 8

_Pair = tuple[torch.Tensor, torch.Tensor]
#: Where the pair stands among the pairs, target, source, and bytes. A plain tuple: there are many.
_Part = tuple[int, int, int, int]

_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def copy(targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    """Copy each source to the target in its place: contiguous, on the host, of its shape and dtype.

    Uses as many threads as torch is set to use, 8 at most.
    """
    plain: list[_Pair] = []
    others: list[_Pair] = []
    for pair in zip(targets, sources, strict=True):
        (plain if is_plain(pair[1]) else others).append(pair)
    if others:
        with torch.no_grad():
            torch._foreach_copy_([target for target, _ in others], [one for _, one in others])
    # ctypes lets go of the interpreter meanwhile.
    _share(plain, lambda _place, target, source, size: ctypes.memmove(target, source, size))


def equal(pairs: Sequence[_Pair]) -> list[bool]:
    """Whether the tensors of each pair are the same bit for bit, NaN and signs of zero included.

    Each pair is plain and of one shape and dtype.
    """
    found = [True] * len(pairs)

    def look(place: int, target: int, source: int, size: int) -> None:
        if found[place] and _compare(target, source, size):
            found[place] = False

    _share(pairs, look)
    return found


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one row of bytes in host memory."""
    return tensor.device.type == "cpu" and tensor.is_contiguous()


def _share(pairs: Sequence[_Pair], work: Callable[[int, int, int, int], object]) -> None:
    """Do ``work`` for every part of every pair, with several threads where there is much of it."""
    pieces = list(_pieces(pairs))
    # Fetching from a list's iterator is one step of the interpreter: no two get the same piece.
    heap = iter(pieces)

    def take() -> None:
        for piece in heap:
            for part in piece:
                work(*part)

    count = min(torch.get_num_threads(), _THREADS, len(pieces))
    helpers = [threading.Thread(target=take) for _ in range(count - 1)]
    for helper in helpers:
        helper.start()
    take()
    for helper in helpers:
        helper.join()


def _pieces(pairs: Iterable[_Pair]) -> Iterator[list[_Part]]:
    """Parts of about one piece's bytes together; large tensors are cut."""
    piece: list[_Part] = []
    room = _PIECE
    for place, (a, b) in enumerate(pairs):
        target, source, left = a.data_ptr(), b.data_ptr(), b.nbytes
        while left:
            size = min(left, room)
            piece.append((place, target, source, size))
            target, source, left, room = target + size, source + size, left - size, room - size
            if not room:
                yield piece
                piece, room = [], _PIECE
    if piece:
        yield piece

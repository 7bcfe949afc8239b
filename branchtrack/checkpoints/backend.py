"""What a store needs of the place that holds its packs: a folder, a bucket, memory.

A backend knows bytes under ids. It must not know headers, digests or what a pack is for: `packs`
does, and is the same over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedReader
from typing import Protocol

Chunk = bytes | memoryview


@dataclass(frozen=True)
class ListedPack:
    """A pack that is there; ``age`` in seconds since it was written."""

    id: str
    age: float


class Backend(Protocol):
    """Packs by their ids (32 hex characters); safe for many threads and processes at once.

    Every method raises OSError if the place fails; backends that are no file system turn their
    own errors into it.
    """

    def put(self, pack: str, chunks: Iterable[Chunk]) -> None:
        """Store a pack, complete or not at all, and durable when this returns.

        A pack that is already there is replaced in one step.
        """

    def open(self, pack: str) -> AbstractContextManager[BufferedReader]:
        """Open a pack for reading; the file can seek.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such pack.
        """

    def exists(self, pack: str) -> bool:
        """Return whether a pack is there."""

    def list(self) -> Iterator[ListedPack]:
        """Yield every pack; where the place cannot be read, none."""

    def delete(self, pack: str) -> None:
        """Remove a pack.

        Raises:
            FileNotFoundError: there is no such pack.
        """

    def describe(self, pack: str | None = None) -> str:
        """Return where a pack is, or would be, for messages; of no pack, where the store is."""

    def is_present(self) -> bool:
        """Return whether the place itself is there, with or without packs."""

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        """Remove what `put` left when its process was killed, and return how many there were.

        ``is_abandoned`` is called with the name of the writing process and the age in seconds.
        """

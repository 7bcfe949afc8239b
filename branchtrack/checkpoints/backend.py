"""What a store needs of the place that holds its packs, be it a folder, a bucket or memory.

A backend knows bytes under ids. It must not know headers, digests or the purpose of a pack: `packs`
knows these, and works the same over every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

Chunk = bytes | memoryview


@dataclass(frozen=True)
class ListedPack:
    """A file of the store; ``age`` is in seconds since it was written, ``nbytes`` its length."""

    id: str
    age: float
    nbytes: int = 0


class Copies(Protocol):
    """Copies on this machine of packs that are elsewhere; `Backend.open` prefers them."""

    def open_source(self, pack: str) -> BufferedReader:
        """Do as `Backend.open`, whatever copies there are."""

    def drop(self, pack: str) -> bool:
        """Delete the copy of a pack, which was damaged; return whether there was one."""

    def adopt(self, pack: str, path: Path) -> None:
        """Take over a file that holds the whole pack: it becomes the copy, or is deleted."""

    def check(self) -> Sequence[tuple[str, str]]:
        """Try what a store needs, and return (what was tried, what was wrong or "") of each."""


class Backend(Protocol):
    """Packs by their ids (32 hex characters); safe for many threads and processes at once.

    Every method raises OSError if the storage fails; backends that are not file systems convert
    their own errors. ``copies`` is None if the packs themselves are on this machine: then they are
    quick to reach, and can always be.
    """

    @property
    def copies(self) -> Copies | None:
        """Copies of packs on this machine."""

    def put(self, pack: str, chunks: Iterable[Chunk]) -> None:
        """Store a pack, either completely or not at all, and durably once this returns.

        An existing pack is replaced in one step.
        """

    def open(self, pack: str) -> AbstractContextManager[BufferedReader]:
        """Open a pack for reading; the file can seek.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such pack.
        """

    def exists(self, pack: str) -> bool:
        """Return whether a pack is there."""

    def list(self) -> Iterator[ListedPack]:
        """Yield every pack; none if a folder cannot be read."""

    def delete(self, pack: str) -> None:
        """Remove a pack.

        Raises:
            FileNotFoundError: there is no such pack.
        """

    def describe(self, pack: str | None = None) -> str:
        """Return the location of a pack, existing or not, or of the store if none is given."""

    def is_present(self) -> bool:
        """Return whether the storage exists, with or without packs."""

    def unfinished(self) -> Iterator[ListedPack]:
        """Yield what `put` is writing, or left when its process was killed.

        The id is the name that `delete_unfinished` judges by.
        """

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        """Remove what `put` left when its process was killed, and return the number of files.

        ``is_abandoned`` is called with the name of the writing process and the age in seconds.
        """

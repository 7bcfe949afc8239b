"""Copies of packs in a folder of this machine, up to a size; those not read for long go first.

They are copies only: all of them may be deleted at any time, by anyone. Many processes use them at
once: a copy appears with a rename, and one that is deleted while it is read stays readable. It must
not know where packs come from.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from branchtrack import permissions, processes

_SUFFIX = ".safetensors"
#: Seconds after which a read is noted again, and after which what a process left is removed.
_NOTED, _LEFT = 60.0, 3600.0


class PackCache:
    """Copies in ``folder``, of ``limit`` bytes together; 0 keeps none."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit

    def takes(self, nbytes: int) -> bool:
        """Return whether a pack of that length may be copied here."""
        return nbytes <= self._limit

    def open(self, pack: str) -> BufferedReader | None:
        """Open the copy of a pack, if there is one; it counts as read now."""
        try:
            file = self._path(pack).open("rb")
        except OSError:
            return None
        with suppress(OSError):
            if time.time() - os.fstat(file.fileno()).st_mtime > _NOTED:
                os.utime(file.fileno())
        return file

    def drop(self, pack: str) -> bool:
        """Delete the copy of a pack; return whether there was one."""
        try:
            self._path(pack).unlink()
        except OSError:
            return False
        return True

    def add(self, pack: str, nbytes: int, write: Callable[[int], None]) -> bool:
        """Copy a pack that ``write`` writes to a descriptor; return False if the disk fails.

        Raises:
            Exception: that of ``write``, unless it is the disk's; there is no copy then.
        """
        if not self.takes(nbytes):
            return False
        temporary = self._temporary(pack)
        try:
            file = permissions.create(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, self._mode())
        except OSError:
            return False
        try:
            try:
                write(file)
                is_whole = os.fstat(file).st_size == nbytes
            finally:
                os.close(file)
            return is_whole and self._take(pack, nbytes, temporary)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def adopt(self, pack: str, path: Path) -> None:
        """Keep a file that holds a pack as its copy; it is moved here, or deleted."""
        with suppress(OSError):
            nbytes = path.stat().st_size
            if self.takes(nbytes):
                self._make_folders(pack)
                self._take(pack, nbytes, path)
        path.unlink(missing_ok=True)

    @property
    def nbytes(self) -> int:
        """The bytes of all copies."""
        return sum(size for _, size, _ in self._copies())

    def _take(self, pack: str, nbytes: int, path: Path) -> bool:
        try:
            with self._locked():
                self._make_room(nbytes)
                os.replace(path, self._path(pack))
        except OSError:
            return False
        return True

    def _make_room(self, nbytes: int) -> None:
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies) + nbytes
        for _, size, path in copies:
            if total <= self._limit:
                break
            with suppress(OSError):
                path.unlink()
                total -= size
        for read_at, _, path in self._entries(self._folder / "tmp"):
            if time.time() - read_at > _LEFT and processes.is_gone(path.name):
                with suppress(OSError):
                    path.unlink()

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (time of the last read, bytes, path) of each copy."""
        with suppress(OSError):
            for folder in os.scandir(self._folder / "packs"):
                yield from self._entries(Path(folder.path))

    def _entries(self, folder: Path) -> Iterator[tuple[float, int, Path]]:
        with suppress(OSError):
            for entry in os.scandir(folder):
                with suppress(OSError):
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, Path(entry.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time look what there is and make room."""
        file = permissions.create(self._folder / "lock", os.O_RDWR | os.O_CREAT, self._mode())
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _temporary(self, pack: str) -> Path:
        with suppress(OSError):
            self._make_folders(pack)
        name = f"{processes.own_name()}#{uuid.uuid4().hex}".replace("/", "_")
        return self._folder / "tmp" / name

    def _make_folders(self, pack: str) -> None:
        folders = [self._folder, self._folder / "tmp", self._folder / "packs"]
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        for folder in (*folders, self._path(pack).parent):
            permissions.make_folder(folder, self._mode())

    def _mode(self) -> int:
        return permissions.of_home(self._folder.parent)

    def _path(self, pack: str) -> Path:
        return self._folder / "packs" / pack[:2] / f"{pack}{_SUFFIX}"

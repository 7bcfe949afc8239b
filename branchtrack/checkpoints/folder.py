"""Packs in a local folder: ``packs/<first two characters>/<id>.safetensors``.

A pack is complete or absent: written under ``tmp/``, fsynced, renamed, the folder fsynced. It must
not know what the bytes mean.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from branchtrack import permissions, processes
from branchtrack.checkpoints.backend import Chunk, Copies, ListedPack
from branchtrack.checkpoints.files import write_all

_SUFFIX = ".safetensors"


class Folder:
    """The backend over a local folder, which is created with its first pack."""

    copies: Copies | None = None

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, pack: str, chunks: Iterable[Chunk]) -> None:
        """Write a pack with at most three fsyncs, and two more when the folder is created."""
        write_durably(self._root, self._path(pack), chunks)

    def open(self, pack: str) -> BufferedReader:
        """Open a pack for reading."""
        return self._path(pack).open("rb")

    def exists(self, pack: str) -> bool:
        """Return whether a pack is there."""
        return self._path(pack).is_file()

    def list(self) -> Iterator[ListedPack]:
        """Yield every pack."""
        for folder, *_ in _aged(self._root / "packs"):
            for path, age, nbytes in _aged(folder):
                yield ListedPack(path.stem, age, nbytes)

    def delete(self, pack: str) -> None:
        """Remove a pack."""
        self._path(pack).unlink()

    def describe(self, pack: str | None = None) -> str:
        """Return the path of a pack or of the folder."""
        return str(self._root if pack is None else self._path(pack))

    def is_present(self) -> bool:
        """Return whether the folder is there."""
        return self._root.is_dir()

    def unfinished(self) -> Iterator[ListedPack]:
        """Yield every temporary file, by its name."""
        for path, age, nbytes in _aged(self._root / "tmp"):
            yield ListedPack(path.name, age, nbytes)

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        """Remove temporary files whose process, which is in their name, is gone."""
        removed = 0
        for path, age, _ in _aged(self._root / "tmp"):
            if is_abandoned(path.name, age):
                with suppress(OSError):
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, pack: str) -> Path:
        return self._root / "packs" / pack[:2] / f"{pack}{_SUFFIX}"


def _aged(folder: Path) -> Iterator[tuple[Path, float, int]]:
    """Yield the entries of a folder, with the seconds since each was last written, and its size."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        with suppress(OSError):
            status = (folder / name).stat()
            yield folder / name, time.time() - status.st_mtime, status.st_size


def write_durably(root: Path, target: Path, chunks: Iterable[Chunk]) -> None:
    """Write a file below ``root/<folder>/``; its temporary file is removed if the disk fails.

    Raises:
        OSError: the disk failed.
    """
    # The name identifies the process, in case it is killed.
    name = f"{processes.own_name()}#{uuid.uuid4().hex}".replace("/", "_")
    temporary, mode = root / "tmp" / name, permissions.of_store(root)
    _make_root(root, target, mode)
    fresh = permissions.make_folder(target.parent, mode)
    try:
        _write(temporary, chunks)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(target.parent)
    if fresh:
        _fsync_folder(target.parent.parent)


def _write(path: Path, chunks: Iterable[Chunk]) -> None:
    mode = permissions.of_store(path.parent.parent)
    file = permissions.create(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        write_all(file, chunks)
        os.fsync(file)
    finally:
        os.close(file)


def _make_root(root: Path, target: Path, mode: int) -> None:
    """Create the folders of the store, durably the first time."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root, root / "tmp"):
        permissions.make_folder(folder, mode)
    if permissions.make_folder(root / target.relative_to(root).parts[0], mode):
        _fsync_folder(root)
        _fsync_folder(root.parent)


def _fsync_folder(folder: Path) -> None:
    """Make renames in a folder durable; without this a power failure may undo them."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)

"""The store's dealings with the file system: durable writes, and errors that tell the way out.

It must not know what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from branchtrack import permissions, processes
from branchtrack.errors import CheckpointDamaged, CheckpointMissing, StorageError

SAFE = "Other nodes are untouched."
FIX = "Resume from another node; `branchtrack verify --all` lists which are damaged."

# One write call takes at most 2 GiB on Linux and less elsewhere.
_WRITE_BYTES = 1 << 26


def write_durably(root: Path, target: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file that is complete or absent, and there to stay when this returns.

    ``target`` lies below ``root/<folder>/``; a file already there is replaced in one step.

    Raises:
        StorageError: the disk failed; the temporary file is gone again.
    """
    # Its name tells `leftovers` whose it is, should this process be killed.
    name = f"{processes.own_name()}#{uuid.uuid4().hex}".replace("/", "_")
    temporary, mode = root / "tmp" / name, permissions.of_store(root)
    try:
        _make_root(root, target, mode)
        fresh = permissions.make_folder(target.parent, mode)
        try:
            _write(temporary, parts)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _fsync_folder(target.parent)
        if fresh:
            _fsync_folder(target.parent.parent)
    except OSError as error:
        raise unusable(target, error) from error


def write_all(file: int, parts: Iterable[bytes | memoryview | bytearray]) -> None:
    """Write every byte of ``parts`` to a descriptor, however little each call takes."""
    for chunk in parts:
        view = memoryview(chunk)
        while view:
            view = view[os.write(file, view[:_WRITE_BYTES]) :]


@contextmanager
def opened(path: Path, tensor: str) -> Iterator[BufferedReader]:
    """A pack opened for reading; ``tensor`` says what for.

    Raises:
        CheckpointMissing: there is no such file.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing(path, tensor) from error
    except OSError as error:
        raise unusable(path, error) from error


def missing(path: Path, tensor: str) -> CheckpointMissing:
    """The error for a pack that is gone; ``tensor`` is what was wanted from it."""
    what = f"The checkpoint file {path} is missing" + (
        f", wanted for {tensor!r}." if tensor else "."
    )
    return CheckpointMissing(what, safe=SAFE, fix=FIX, node=None, path=str(path), tensor=tensor)


def damaged(path: Path, tensor: str, reason: str) -> CheckpointDamaged:
    """The error for a pack whose content is not what was stored; no tensor means its header."""
    subject = f"tensor {tensor!r}" if tensor else "its header"
    what = f"The checkpoint file {path} is damaged: {subject}: {reason}."
    return CheckpointDamaged(what, safe=SAFE, fix=FIX, node=None, path=str(path), tensor=tensor)


def unusable(path: Path, error: OSError) -> StorageError:
    """The error for a disk that would not, with what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = (
            "The disk is full: free some space on it, or move the home to another disk and give "
            "it with --home or BRANCHTRACK_HOME."
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = "Mend the permissions of that folder, or give another home with --home."
    else:
        fix = "Check the disk, then try again."
    what = f"The file {path} cannot be used: {error.strerror or error}."
    safe = "Nodes already listed are untouched."
    return StorageError(what, safe=safe, fix=fix, path=str(path), errno=error.errno)


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    mode = permissions.of_store(path.parent.parent)
    file = permissions.create(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        write_all(file, parts)
        os.fsync(file)
    finally:
        os.close(file)


def _make_root(root: Path, target: Path, mode: int) -> None:
    """The store's own folders, made durable once in its life."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root, root / "tmp"):
        permissions.make_folder(folder, mode)
    if permissions.make_folder(root / target.relative_to(root).parts[0], mode):
        _fsync_folder(root)
        _fsync_folder(root.parent)


def _fsync_folder(folder: Path) -> None:
    """Without this a rename may be forgotten when the power fails."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)

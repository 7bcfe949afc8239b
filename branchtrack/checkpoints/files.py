"""Errors about packs and files that say how to go on, and writes that are always complete.

It must not know what the bytes mean, or which backend holds them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from branchtrack.errors import CheckpointDamaged, CheckpointMissing, StorageError

SAFE = "Other nodes are untouched."
FIX = "Resume from another node; `branchtrack verify --all` lists which are damaged."

# One write call takes at most 2 GiB on Linux and less elsewhere.
_WRITE_BYTES = 1 << 26


def write_all(file: int, chunks: Iterable[bytes | memoryview | bytearray]) -> None:
    """Write every byte of ``chunks`` to a descriptor, in as many calls as it takes."""
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(file, view[:_WRITE_BYTES]) :]


def missing(path: str, tensor: str) -> CheckpointMissing:
    """Return the error for a pack that is gone; ``tensor`` is what was needed from it."""
    what = f"The checkpoint file {path} is missing" + (
        f", wanted for {tensor!r}." if tensor else "."
    )
    return CheckpointMissing(what, safe=SAFE, fix=FIX, node=None, path=path, tensor=tensor)


def damaged(path: str, tensor: str, reason: str) -> CheckpointDamaged:
    """Return the error for a pack that is not as it was stored; no tensor means its header."""
    subject = f"tensor {tensor!r}" if tensor else "its header"
    what = f"The checkpoint file {path} is damaged: {subject}: {reason}."
    return CheckpointDamaged(what, safe=SAFE, fix=FIX, node=None, path=path, tensor=tensor)


@contextmanager
def translated(path: str | Path) -> Iterator[None]:
    """Turn a failure of the disk into an error that names the file, see `unusable`."""
    try:
        yield
    except OSError as error:
        raise unusable(path, error) from error


def unusable(path: str | Path, error: OSError) -> StorageError:
    """Return the error for a failed disk, which says what to do about it."""
    if fix := getattr(error, "fix", ""):
        # A backend that is no file system says itself what to do.
        pass
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = (
            "The disk is full: free some space on it, or move the home to another disk and give "
            "it with --home or BRANCHTRACK_HOME."
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = "Fix the permissions of that folder, or use another home with --home."
    else:
        fix = "Check the disk, then try again."
    what = f"The file {path} cannot be used: {error.strerror or error}."
    safe = "Nodes already listed are untouched."
    return StorageError(what, safe=safe, fix=fix, path=str(path), errno=error.errno)

"""What killed processes left in a store: half-written files, and packs that no node names.

A temporary file has its process in its name, a pack its process and its database in its header. So
a pack can only ever be named by that process, in that database: once the process is gone, and the
database does not name it, nobody will. A database that was restored from a copy does not name what
came later either; those packs are kept, as the process was heard of no more at their time. It must
not know SQL.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from branchtrack import processes
from branchtrack.checkpoints import headers

PROCESS_KEY = "branchtrack.process"
DATABASE_KEY = "branchtrack.database"
#: Seconds for which a file of a process that looks gone has not been written: a process in another
#: container may have a name of this machine's.
_QUIET = 600.0
#: The same for a process of another machine, or one that nobody knows.
_OLD = 86_400.0
#: A process that lives is heard of every second.
_HEARTBEATS = 5.0


def owner(process: str, database: str) -> dict[str, str]:
    """The metadata of a pack that ``process`` writes for a database, told by any name of it."""
    return {PROCESS_KEY: process, DATABASE_KEY: database}


def remove_temporary(store: Path) -> list[Path]:
    """Remove the half-written files of processes that are gone; returns them."""
    removed = []
    for path, age in _aged(store / "tmp"):
        if _is_left(path.name, age):
            with suppress(OSError):
                path.unlink()
                removed.append(path)
    return removed


def remove_unnamed(
    store: Path, named: Container[str], database: str, heard_of: Mapping[str, float]
) -> list[Path]:
    """Remove packs that were written for a database, and that it does not name; returns them.

    ``heard_of`` has the times at which the database last heard of processes. Packs that do not say
    whose they are, of versions before, are left alone.
    """
    removed = []
    for folder, _ in _aged(store / "packs"):
        for path, age in _aged(folder):
            if path.stem in named or age < _QUIET:
                continue
            metadata = _metadata(path)
            process = metadata.get(PROCESS_KEY)
            if not process or metadata.get(DATABASE_KEY) != database:
                continue
            was_heard_of = time.time() - age < heard_of.get(process, 0.0) + _HEARTBEATS
            if was_heard_of and _is_left(process, age):
                with suppress(OSError):
                    path.unlink()
                    removed.append(path)
    return removed


def _is_left(process: str, age: float) -> bool:
    return age > (_QUIET if processes.is_gone(process) else _OLD)


def _aged(folder: Path) -> Iterator[tuple[Path, float]]:
    """What lies in a folder, with the seconds for which it has not been written."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        with suppress(OSError):
            yield folder / name, time.time() - (folder / name).stat().st_mtime


def _metadata(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            nbytes = os.fstat(file.fileno()).st_size
            return headers.parse(headers.read_raw(file, nbytes), nbytes).metadata
    except (OSError, headers.BadHeader):
        return {}

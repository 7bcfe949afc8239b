"""Leftovers of killed processes in a store: unfinished packs, and packs that no node names.

The name of an unfinished file holds its process, the header of a pack its process and its database.
So only that process, in that database, can ever name the pack: once the process is gone, a pack
that the database does not name stays unnamed. A database that was restored from a copy does not
name later packs either; those are kept, because the database last heard of their process before
they were written. It must not know SQL.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress

from branchtrack import processes
from branchtrack.checkpoints.backend import ListedPack
from branchtrack.checkpoints.packs import Store
from branchtrack.errors import CheckpointError, StorageError

PROCESS_KEY = "branchtrack.process"
DATABASE_KEY = "branchtrack.database"
#: Seconds since the last write to a file of a process that looks gone: a process in another
#: container may have the name of one on this machine.
_QUIET = 600.0
#: The same for a process on another machine, or an unknown one.
_OLD = 86_400.0
#: A live process is heard of every second.
_HEARTBEATS = 5.0


def owner(process: str, database: str) -> dict[str, str]:
    """Return the metadata of a pack that ``process`` writes for the named database."""
    return {PROCESS_KEY: process, DATABASE_KEY: database}


def remove_unfinished(store: Store) -> int:
    """Remove unfinished files of processes that are gone, and return how many there were."""
    return store.delete_unfinished(_is_left)


def remove_unnamed(
    store: Store, named: Container[str], database: str, heartbeats: Mapping[str, float]
) -> list[str]:
    """Remove packs written for a database that does not name them, and return their ids.

    ``heartbeats`` holds the times at which the database last heard of processes. Packs that do not
    name their process were written by earlier versions, and are left alone.
    """
    removed = []
    for pack in unnamed(store, named, database, heartbeats):
        with suppress(OSError):
            store.delete(pack.id)
            removed.append(pack.id)
    return removed


def unnamed(
    store: Store, named: Container[str], database: str, heartbeats: Mapping[str, float]
) -> Iterator[ListedPack]:
    """Yield the packs that `remove_unnamed` would remove."""
    for pack in store.packs():
        if pack.id in named or pack.age < _QUIET:
            continue
        metadata = _metadata(store, pack.id)
        process = metadata.get(PROCESS_KEY)
        if not process or metadata.get(DATABASE_KEY) != database:
            continue
        was_heard_of = time.time() - pack.age < heartbeats.get(process, 0.0) + _HEARTBEATS
        if was_heard_of and _is_left(process, pack.age):
            yield pack


def unfinished(store: Store) -> Iterator[ListedPack]:
    """Yield the unfinished files that `remove_unfinished` would remove."""
    return (file for file in store.unfinished() if _is_left(file.id, file.age))


def _is_left(process: str, age: float) -> bool:
    return age > (_QUIET if processes.is_gone(process) else _OLD)


def _metadata(store: Store, pack: str) -> dict[str, str]:
    with suppress(CheckpointError, StorageError):
        return store.metadata(pack)
    return {}

"""What killed processes left in a store: half-written packs, and packs that no node names.

What is half-written has its process in its name, a pack its process and its database in its header.
So a pack can only ever be named by that process, in that database: once the process is gone, and
the database does not name it, none will. A database that was restored from a copy does not name
what came later either; those packs are kept, as the process was heard of no more at their time. It
must not know SQL.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from contextlib import suppress

from branchtrack import processes
from branchtrack.checkpoints.packs import Store
from branchtrack.errors import CheckpointError, StorageError

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
    """Return the metadata of a pack that ``process`` writes for a database, by a name of it."""
    return {PROCESS_KEY: process, DATABASE_KEY: database}


def remove_unfinished(store: Store) -> int:
    """Remove what processes that are gone had half written; returns how many there were."""
    return store.delete_unfinished(_is_left)


def remove_unnamed(
    store: Store, named: Container[str], database: str, heard_of: Mapping[str, float]
) -> list[str]:
    """Remove packs that were written for a database, and that it does not name; returns their ids.

    ``heard_of`` has the times at which the database last heard of processes. Packs that do not say
    whose they are, of versions before, are left alone.
    """
    removed = []
    for pack in store.packs():
        if pack.id in named or pack.age < _QUIET:
            continue
        metadata = _metadata(store, pack.id)
        process = metadata.get(PROCESS_KEY)
        if not process or metadata.get(DATABASE_KEY) != database:
            continue
        was_heard_of = time.time() - pack.age < heard_of.get(process, 0.0) + _HEARTBEATS
        if was_heard_of and _is_left(process, pack.age):
            with suppress(OSError):
                store.delete(pack.id)
                removed.append(pack.id)
    return removed


def _is_left(process: str, age: float) -> bool:
    return age > (_QUIET if processes.is_gone(process) else _OLD)


def _metadata(store: Store, pack: str) -> dict[str, str]:
    with suppress(CheckpointError, StorageError):
        return store.metadata(pack)
    return {}

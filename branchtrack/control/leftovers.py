"""Removing leftovers of killed processes from the store when a process begins to use a home.

It decides nothing: `checkpoints.leftovers` knows what can be removed safely.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from branchtrack.checkpoints import leftovers
from branchtrack.checkpoints.packs import Store
from branchtrack.config import without_password
from branchtrack.db.engine import Database
from branchtrack.db.storage import packs


def pack_owner(database: Database, store: Store, process: str) -> dict[str, str]:
    """Return a pack's metadata on who writes it, and for which database."""
    return leftovers.owner(process, name_of(database, store))


def clear(database: Database, store: Store) -> str:
    """Remove leftovers, and return a sentence on them; empty if there were none.

    Raises:
        StorageError: the database failed.
    """
    with database.read() as connection:
        named, heartbeats = packs.ids(connection), packs.heartbeats(connection)
    unfinished = leftovers.remove_unfinished(store)
    unnamed = leftovers.remove_unnamed(store, named, name_of(database, store), heartbeats)
    if unnamed:
        # Earlier commits may name packs that other tensors of equal content were read from.
        with database.transaction() as connection:
            packs.forget_unread(connection, unnamed)
    if not unfinished and not unnamed:
        return ""
    return (
        f"Removed from {store.describe()} what killed processes had left: {unfinished} "
        f"half-written, {len(unnamed)} that no node names."
    )


def nbytes(database: Database, store: Store, named: Collection[str] | None = None) -> int:
    """Return the bytes of what `clear` would remove; ``named`` are `packs.ids`, if known.

    Raises:
        StorageError: the database failed.
    """
    with database.read() as connection:
        named = packs.ids(connection) if named is None else named
        heartbeats = packs.heartbeats(connection)
    unnamed = leftovers.unnamed(store, named, name_of(database, store), heartbeats)
    return sum(file.nbytes for files in (leftovers.unfinished(store), unnamed) for file in files)


def name_of(database: Database, store: Store) -> str:
    """Return a name for the database that stays the same if it is moved together with its home."""
    path = database.path
    is_inside = path is not None and path.is_relative_to(store.home)
    words = (
        str(path.relative_to(store.home)) if path and is_inside else without_password(database.url)
    )
    return hashlib.sha256(words.encode(errors="surrogateescape")).hexdigest()[:16]

"""Removing what killed processes left in the store; whoever begins to use a home does it.

It decides nothing: what is safe to be removed `checkpoints.leftovers` knows.
"""

from __future__ import annotations

import hashlib

from branchtrack.checkpoints import leftovers
from branchtrack.checkpoints.packs import Store
from branchtrack.config import without_password
from branchtrack.db import packs
from branchtrack.db.engine import Database


def pack_owner(database: Database, store: Store, process: str) -> dict[str, str]:
    """What a pack says of who writes it, and for which database."""
    return leftovers.owner(process, _name(database, store))


def clear(database: Database, store: Store) -> str:
    """Remove what was left, and say what that was; empty where there was nothing.

    Raises:
        StorageError: the database failed.
    """
    with database.read() as connection:
        named, heard_of = packs.ids(connection), packs.heard_of(connection)
    files = leftovers.remove_temporary(store.folder)
    unnamed = leftovers.remove_unnamed(store.folder, named, _name(database, store), heard_of)
    if unread := [path.stem for path in unnamed]:
        # Earlier commits named packs that others' equal tensors were read from instead.
        with database.transaction() as connection:
            packs.forget_unread(connection, unread)
    if not files and not unnamed:
        return ""
    return (
        f"Removed from {store.folder} what killed processes had left: {len(files)} half-written, "
        f"{len(unnamed)} that no node names."
    )


def _name(database: Database, store: Store) -> str:
    """The same for a database that was moved together with its home."""
    path = database.path
    is_inside = path is not None and path.is_relative_to(store.home)
    words = (
        str(path.relative_to(store.home)) if path and is_inside else without_password(database.url)
    )
    return hashlib.sha256(words.encode(errors="surrogateescape")).hexdigest()[:16]

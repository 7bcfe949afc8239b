"""Packs are named as long as something is read from them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from branchtrack.core.records import TensorLocation
from branchtrack.db import seals
from branchtrack.db.engine import Database
from branchtrack.db.storage import packs
from branchtrack.db.tables import packs as pack_rows
from branchtrack.db.tables import tensors

A, B = "a" * 32, "b" * 32


def add(database: Database, pack: str, *digests: str, gone: Collection[str] = ()) -> bool:
    places = [TensorLocation(digest * 64, pack, digest, "F32", (3,), 8, 12) for digest in digests]
    with database.transaction() as connection:
        return packs.add(connection, (pack, 100), places, gone)


def read_from(database: Database) -> dict[str, str]:
    """The pack that each tensor is read from, by name; every pack is named and sealed."""
    with database.read() as connection:
        assert list(seals.broken(connection, pack_rows)) == []
        rows = connection.execute(select(tensors.c.name, tensors.c.pack)).all()
        assert set(connection.execute(select(pack_rows.c.id)).scalars()) == packs.ids(connection)
    return {row.name: row.pack for row in rows}


def test_a_tensor_stays_in_the_pack_that_came_first(database: Database) -> None:
    assert add(database, A, "1", "2")
    assert not add(database, B, "1", "2")
    assert read_from(database) == {"1": A, "2": A}
    assert add(database, B, "2", "3")
    assert read_from(database) == {"1": A, "2": A, "3": B}


def test_a_tensor_whose_pack_is_gone_is_read_from_the_next(database: Database) -> None:
    add(database, A, "1", "2")
    assert add(database, B, "1", gone=[A])
    assert read_from(database) == {"1": B, "2": A}
    assert add(database, B, "1", "2", gone=[A])
    assert read_from(database) == {"1": B, "2": B}


def test_a_pack_that_is_recorded_again_stays_named(database: Database) -> None:
    assert add(database, A, "1") and add(database, A, "1")
    assert read_from(database) == {"1": A}

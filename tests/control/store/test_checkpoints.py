"""A checkpoint is recorded while all that it consists of is stored, or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from branchtrack.checkpoints.manifest import Entry, Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.control.store import checkpoints
from branchtrack.db import tables
from branchtrack.db.engine import Database
from tests.retention.trees import tensor

DIGEST, CONTENT = tensor("model/weight", 3)
MANIFEST = Manifest((Entry("model/weight", CONTENT.dtype, CONTENT.shape, DIGEST),), {})


def recorded(database: Database, store: Store, process: str = "first") -> bool:
    """Whether the pack of a checkpoint that was just stored is named."""
    pack = store.put([(DIGEST, CONTENT)], {"process": process})
    with database.transaction() as connection:
        return checkpoints.record(connection, store, MANIFEST, [DIGEST], pack)


def absent(database: Database, store: Store) -> set[str]:
    with database.read() as connection:
        return checkpoints.absent(connection, store, [DIGEST])


def test_what_was_recorded_is_absent_no_more_until_its_pack_is_gone(
    database: Database, store: Store
) -> None:
    assert absent(database, store) == {DIGEST}
    assert recorded(database, store)
    assert absent(database, store) == set()
    with database.read() as connection:
        store.discard(connection.execute(select(tables.packs.c.id)).scalar_one())
    assert absent(database, store) == {DIGEST}


def test_a_second_pack_of_the_same_tensors_is_not_named(database: Database, store: Store) -> None:
    assert recorded(database, store)
    assert not recorded(database, store, "second")


def test_nothing_is_recorded_of_what_a_sweep_has_removed(database: Database, store: Store) -> None:
    with pytest.raises(checkpoints.Outdated), database.transaction() as connection:
        checkpoints.record(connection, store, MANIFEST, [DIGEST], None)
    with database.read() as connection:
        assert connection.execute(select(tables.checkpoints)).first() is None

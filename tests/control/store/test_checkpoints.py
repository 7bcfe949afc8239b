"""A checkpoint is recorded while all that it consists of is stored, or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.sharded import ShardedTensor, piece_name
from branchtrack.control.store import checkpoints
from branchtrack.db import integrity, nodes, tables
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
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


def recorded_in_pieces(database: Database, store: Store) -> bool:
    """Whether the pack is named of the same state, which two ranks hold in pieces."""
    rows, middle = CONTENT.shape[0], CONTENT.shape[0] // 2
    entries, contents = [], []
    for start, end in ((0, middle), (middle, rows)):
        shape, data = (end - start,), CONTENT.data[4 * start : 4 * end]
        name, digest = piece_name("model/weight", start), tensor_digest("F32", shape, data)
        entries.append(Entry(name, "F32", shape, digest))
        contents.append((digest, TensorBytes(name, "F32", shape, data)))
    whole = ShardedTensor("model/weight", "F32", CONTENT.shape, DIGEST, (0, middle))
    manifest = Manifest(tuple(entries), {}, (whole,))
    assert manifest.digest == MANIFEST.digest
    pack = store.put(contents, {"process": "another"})
    with database.transaction() as connection:
        names = [digest for digest, _ in contents]
        return checkpoints.record(connection, store, manifest, names, pack)


def tensor_names(database: Database) -> set[str]:
    """The names by which the state is recorded; all of it has to be stored, and nothing more."""
    with database.read() as connection:
        assert [str(problem) for problem in integrity.of_database(connection)] == []
        manifest = nodes.checkpoint(connection, MANIFEST.digest).manifest
    return {entry.name for entry in Manifest.from_json(manifest).entries}


def test_a_state_that_is_stored_whole_is_not_stored_in_pieces_as_well(
    database: Database, store: Store
) -> None:
    assert recorded(database, store)
    assert not recorded_in_pieces(database, store)
    assert tensor_names(database) == {"model/weight"}


def test_a_thinned_state_is_whole_again_in_the_pieces_that_are_stored_now(
    database: Database, store: Store
) -> None:
    assert recorded(database, store)
    with database.transaction() as connection:
        thinning.mark(connection, {MANIFEST.digest: "recipe"})
        thinning.forget_tensors(connection, [DIGEST])
    assert recorded_in_pieces(database, store)
    assert tensor_names(database) == {"model/weight@0", f"model/weight@{CONTENT.shape[0] // 2}"}

"""What a checkpoint consists of is read without the place of each tensor."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes, seals, tables
from branchtrack.db.engine import Database
from branchtrack.db.storage.outlines import checkpoint_outline
from branchtrack.errors import CheckpointDamaged, CheckpointMissing
from tests.trees_for_tests import make_forked_tree


def test_it_has_the_names_of_the_tensors_and_their_packs(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    digest = tree_nodes[1].state_digest
    with database.read() as connection:
        (location,) = nodes.checkpoint(connection, digest).locations.values()
        outline = checkpoint_outline(connection, digest, "all")
    assert outline.names == ["model/weight"]
    assert outline.packs.keys() == {location.pack}
    store.check_pack(location.pack, outline.packs[location.pack])


def test_a_record_that_is_missing_changed_or_lacks_tensors_is_refused(
    database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    digest = tree_nodes[1].state_digest
    mine = tables.checkpoints.c.digest == digest
    with database.transaction() as connection:
        with pytest.raises(CheckpointMissing):
            checkpoint_outline(connection, "0" * 64, "all")
        connection.execute(tables.checkpoints.update().where(mine).values(manifest=b"x"))
        with pytest.raises(CheckpointDamaged, match="is not as it was written"):
            checkpoint_outline(connection, digest, "all")
        seals.renew(connection, tables.checkpoints, digest)
        with pytest.raises(CheckpointDamaged, match="manifest cannot be read"):
            checkpoint_outline(connection, digest, "all")
    other = tree_nodes[2].state_digest
    with database.transaction() as connection:
        (tensor,) = nodes.checkpoint(connection, other).locations
        connection.execute(tables.tensors.delete().where(tables.tensors.c.digest == tensor))
        with pytest.raises(CheckpointDamaged, match="location of 1 of its tensors"):
            checkpoint_outline(connection, other, "all")

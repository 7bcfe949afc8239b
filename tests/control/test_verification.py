"""A node whose record or bytes are not what was written is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import verification
from branchtrack.db import nodes, tables
from branchtrack.db.engine import Database
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointMissing,
    RecordChanged,
)
from tests.control.samples import row_counts
from tests.trees_for_tests import make_forked_tree


def test_a_node_with_one_flipped_byte_is_noticed_when_every_byte_is_read(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        location = next(
            iter(nodes.checkpoint(connection, tree_nodes[1].state_digest).locations.values())
        )
    pack = Path(store.describe(location.pack))
    content = bytearray(pack.read_bytes())
    content[location.offset + 17] ^= 1
    pack.write_bytes(content)
    before = row_counts(sqlite_database)
    with pytest.raises(CheckpointDamaged, match="another node") as caught:
        control.create_launch(sqlite_database, store, tree_nodes[1].id, actor="me", every_byte=True)
    assert caught.value.tensor == "model/weight"
    assert row_counts(sqlite_database) == before
    assert (
        control.verify_node(sqlite_database, store, tree_nodes[2]).digest
        == tree_nodes[2].state_digest
    )


def test_a_node_whose_pack_is_gone_is_not_resumed(sqlite_database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        location = next(
            iter(nodes.checkpoint(connection, tree_nodes[1].state_digest).locations.values())
        )
    Path(store.describe(location.pack)).unlink()
    before = row_counts(sqlite_database)
    with pytest.raises(CheckpointMissing, match="Nothing was changed"):
        control.create_launch(sqlite_database, store, tree_nodes[1].id, actor="me")
    assert row_counts(sqlite_database) == before


def test_a_manifest_that_was_changed_is_noticed(sqlite_database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        other = select(tables.checkpoints.c.manifest).where(
            tables.checkpoints.c.digest == tree_nodes[2].state_digest
        )
        connection.execute(
            tables.checkpoints.update()
            .where(tables.checkpoints.c.digest == tree_nodes[1].state_digest)
            .values(manifest=connection.execute(other).scalar_one())
        )
    with pytest.raises(CheckpointDamaged, match="state digest"):
        control.verify_node(sqlite_database, store, tree_nodes[1])


def test_a_whole_node_is_read_to_its_last_byte(sqlite_database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    seen: list[tuple[int, int]] = []
    verification.verify_node(
        sqlite_database, store, tree_nodes[1], lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (256, 256)


def test_a_record_that_was_edited_is_refused(sqlite_database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        connection.execute(
            tables.nodes.update()
            .where(tables.nodes.c.id == tree_nodes[1].id)
            .values(message="edited")
        )
    with pytest.raises(RecordChanged, match="another node") as caught:
        verification.verify_record(sqlite_database, tree_nodes[1])
    assert caught.value.node == tree_nodes[1].id
    verification.verify_record(sqlite_database, tree_nodes[0])


def test_the_outline_of_a_node_reads_no_content_of_tensors(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    node = tree_nodes[1]
    with sqlite_database.read() as connection:
        (location,) = nodes.checkpoint(connection, node.state_digest).locations.values()
    pack = Path(store.describe(location.pack))
    content = bytearray(pack.read_bytes())
    content[location.offset] ^= 1
    pack.write_bytes(content)
    assert verification.verify_outline(sqlite_database, store, node) == ["model/weight"]
    content[12] ^= 1
    pack.write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=f"Node {node.id} cannot be restored") as caught:
        verification.verify_outline(sqlite_database, store, node)
    assert (caught.value.node, caught.value.path) == (node.id, str(pack))


def test_a_verdict_says_what_is_wrong_and_reads_a_shared_state_once(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    node, states = tree_nodes[1], dict[str, str | None]()
    verdict = control.node_verdict(sqlite_database, store, node.id, states)
    assert verdict["whole"] and states == {node.state_digest: None}
    states[node.state_digest] = "It is damaged."
    verdict = control.node_verdict(sqlite_database, store, node.id, states)
    assert (verdict["whole"], verdict["problem"]) == (False, "It is damaged.")
    assert not control.node_verdict(sqlite_database, store, "nope")["whole"]

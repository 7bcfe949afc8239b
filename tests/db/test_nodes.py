"""Nodes are committed once, found by what people write, and read in the order of the tree."""

from __future__ import annotations

import zlib
from dataclasses import fields

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import NewNode, StoredCheckpoint
from branchtrack.db import nodes, runs, segments, tables
from branchtrack.db.engine import Database
from branchtrack.db.storage import references, thinning
from branchtrack.errors import CheckpointDamaged, CheckpointMissing, CheckpointThinned, NotFound
from tests.trees_for_tests import make_forked_tree, make_tree


def test_an_unknown_node_is_not_answered_with_runs(database: Database, store: Store) -> None:
    make_forked_tree(database, store)
    with database.read() as connection:
        for ref in ("zzzz", "dem"):
            with pytest.raises(NotFound, match="no node .* lists the nodes of a run") as unknown:
                nodes.find(connection, ref)
            assert unknown.value.facts["near"] == () and "Did you" not in str(unknown.value)
        with pytest.raises(NotFound, match="Did you mean: demo/cooler"):
            nodes.find(connection, "demo/coler")


def test_a_node_is_found_by_prefix_or_as_the_head_of_a_branch(
    database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    with database.read() as connection:
        assert nodes.find(connection, tree_nodes[1].id[:6]).id == tree_nodes[1].id
        assert nodes.find(connection, "demo/cooler").id == tree_nodes[-1].id
        assert nodes.find(connection, "demo").id == tree_nodes[3].id


def test_an_unknown_node_is_answered_with_the_way_to_find_one(
    database: Database, store: Store
) -> None:
    make_forked_tree(database, store)
    with pytest.raises(NotFound, match="branchtrack tree"), database.read() as connection:
        nodes.find(connection, "ffff0000ffff0000")


def test_a_process_that_was_taken_for_gone_does_not_move_the_head(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    first = tree.node("main", 10)
    branch, late = tree.branches["main"], tree.segment("main")
    with sqlite_database.transaction() as connection:
        segments.follow(connection, branch, late, first, actor="me")
        new = {field.name: getattr(first, field.name) for field in fields(NewNode)}
        nodes.commit(connection, NewNode(**{**new, "step": 20, "segment_id": late.id}))
        assert runs.get_branch(connection, branch.id).head_id == first.id


def test_the_first_node_at_a_step_is_looked_for_up_to_the_root(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    _root, ten, _twenty, _thirty, fork, last = tree_nodes
    with sqlite_database.read() as connection:
        assert nodes.first_at(connection, last, 10) == ten
        assert nodes.first_at(connection, last, 20) == last
        assert nodes.first_at(connection, last, 15) is None
        assert nodes.children(connection, ten.id) == [tree_nodes[2], fork]


def test_the_first_proof_of_a_node_stays(sqlite_database: Database, store: Store) -> None:
    node = make_tree(sqlite_database, store).node("main", 10)
    with sqlite_database.transaction() as connection:
        nodes.set_proof(connection, node.id, {"loss": "a"})
        nodes.set_proof(connection, node.id, {"loss": "b"})
        assert nodes.get(connection, node.id).proof == {"loss": "a"}


def test_what_was_used_last_is_that_of_the_newest_node_that_was_read_back(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    first, second = tree.node("main", 10), tree.node("main", 20)
    branch = tree.branches["main"].id
    with sqlite_database.transaction() as connection:
        assert nodes.last_effective(connection, branch) == {}
        nodes.set_effective(connection, first.id, {"lr": 1.0})
        assert nodes.last_effective(connection, branch) == {"lr": 1.0}
        nodes.set_effective(connection, second.id, {"lr": 2.0})
        assert nodes.last_effective(connection, branch) == {"lr": 2.0}


def test_of_many_checkpoints_each_is_there_or_said_why_not(
    database: Database, store: Store
) -> None:
    _tree, line = make_forked_tree(database, store)
    whole, weights, recipe = (node.state_digest for node in (line[0], line[1], line[2]))
    with database.transaction() as connection:
        thinning.mark(connection, {weights: references.WEIGHTS, recipe: references.RECIPE})
        digests = [whole, weights, recipe, "0" * 64]
        stored = nodes.checkpoints_or_errors(connection, digests, need="weights")
        assert list(map(type, map(stored.get, digests))) == [
            StoredCheckpoint,
            StoredCheckpoint,
            CheckpointThinned,
            CheckpointMissing,
        ]
        assert stored[whole] == nodes.checkpoint(connection, whole)
        # Each has the tensors of its own manifest only.
        assert all(
            each.locations.keys() == {digest for *_entry, digest in each.manifest["tensors"]}
            for each in stored.values()
            if isinstance(each, StoredCheckpoint)
        )
        with pytest.raises(CheckpointThinned):
            nodes.checkpoint(connection, weights)


@pytest.mark.parametrize("manifest", [b"", zlib.compress(b"{"), zlib.compress(b"{}")])
def test_a_checkpoint_whose_record_is_damaged_is_refused(
    sqlite_database: Database, store: Store, manifest: bytes
) -> None:
    node = make_tree(sqlite_database, store).node("main", 10)
    with sqlite_database.transaction() as connection:
        connection.execute(tables.checkpoints.update().values(manifest=manifest))
        with pytest.raises(CheckpointDamaged, match="another node"):
            nodes.checkpoint(connection, node.state_digest)
        with pytest.raises(CheckpointMissing):
            nodes.checkpoint(connection, "none")


def test_a_node_is_found_by_its_branch_and_step(database: Database, store: Store) -> None:
    _tree, (root, ten, twenty, _thirty, fork, last) = make_forked_tree(database, store)
    expected = {
        "demo@0": root,
        "demo@10": ten,
        "demo/main@20": twenty,
        "demo/cooler@20": last,
        # The newest there: the fork, and not the node that it inherits.
        "demo/cooler@10": fork,
        "demo/cooler@0": root,
    }
    with database.read() as connection:
        for ref, node in expected.items():
            assert nodes.find(connection, ref).id == node.id, ref


def test_a_step_without_a_node_is_answered_with_the_nearest(
    database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    with database.read() as connection:
        with pytest.raises(NotFound, match="no node 'demo@15'") as caught:
            nodes.find(connection, "demo@15")
        assert caught.value.facts["near"] == ("demo@0", "demo@10", "demo@20", "demo@30")
        assert f"demo@10 ({tree_nodes[1].id[:8]})" in caught.value.fix
        with pytest.raises(NotFound) as caught:
            nodes.find(connection, "demo/cooler@30")
        assert caught.value.facts["near"] == ("demo/cooler@10", "demo/cooler@20")
        for ref in ("demo@", "demo@x", "demo@-1", "demo@1.5", "demo@" + "9" * 30):
            with pytest.raises(NotFound, match="RUN@STEP"):
                nodes.find(connection, ref)
        with pytest.raises(NotFound, match="branch"):
            nodes.find(connection, "demo/warmer@10")


def test_a_step_of_a_branch_without_nodes_is_not_found(database: Database, store: Store) -> None:
    make_tree(database, store)
    with database.read() as connection:
        with pytest.raises(NotFound, match="no node yet"):
            nodes.find(connection, "demo@0")

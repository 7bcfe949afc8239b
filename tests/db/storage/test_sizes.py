"""Sizes are read as they were recorded."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.storage import sizes
from tests.retention.trees import NBYTES, chain, commit
from tests.trees_for_tests import make_tree


def test_packs_tensors_and_holders_are_what_was_stored(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    line = chain(tree, count=2)
    other = make_tree(database, store, "other")
    commit(other, "main", 10, None, "root")
    with database.read() as connection:
        assert sizes.pack_bytes(connection) == {p.id: p.nbytes for p in store.packs()}
        assert [nbytes for _, _, nbytes in sizes.tensor_sizes(connection)] == [NBYTES] * 5
        holders = sizes.holders(connection)
        assert {(h.thinned, h.logical_bytes) for h in holders} == {(None, 3 * NBYTES)}
        assert sum(holder.nodes for holder in holders) == 3
        rows = sizes.branch_rows(connection)
        digests = [node.state_digest for node in line]
        assert sizes.held_elsewhere(connection, tree.run.id, digests) == {digests[1]}
        assert sizes.held_elsewhere(connection, tree.run.id, []) == set()
    assert [(row.run, row.branch) for row in rows] == [("other", "main"), ("demo", "main")]

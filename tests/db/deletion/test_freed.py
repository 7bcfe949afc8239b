"""A purge frees the bytes that no other branch needs."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db.deletion.freed import freed_bytes
from branchtrack.db.engine import Database
from tests.retention.trees import NBYTES, chain, commit
from tests.trees_for_tests import make_tree


def test_bytes_that_others_need_are_not_counted(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    line = chain(tree, count=3)
    tree.branch("side", line[1])
    fork = commit(tree, "side", 10, line[1], "fork")
    commit(tree, "side", 20, fork)
    main, side = (tree.branches[name].id for name in ("main", "side"))
    with database.read() as connection:
        assert freed_bytes(connection, [side]) == 2 * NBYTES
        assert freed_bytes(connection, [main, side]) == 9 * NBYTES
        assert freed_bytes(connection, []) == 0

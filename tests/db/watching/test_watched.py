"""What is to be looked at: what runs or has just failed, not what was noticed or deleted."""

from __future__ import annotations

import time

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import watched
from tests.db.watching.rows import add_alert
from tests.trees_for_tests import Tree, make_forked_tree


def looked(database: Database, since: float = 0.0) -> list[str]:
    with database.read() as connection:
        names = {w.segment.branch_id: w for w in watched.current(connection, since)}
        return sorted(runs.get_branch(connection, branch).name for branch in names)


def test_what_trains_is_looked_at_with_its_newest_node(database: Database, store: Store) -> None:
    tree, nodes = make_forked_tree(database, store)
    with database.read() as connection:
        by_branch = {w.segment.branch_id: w for w in watched.current(connection, 0.0)}
    main = by_branch[tree.branches["main"].id]
    assert (main.head_id, main.head_step, main.watch) == (nodes[3].id, 30, None)
    assert main.checkpoint_bytes == 256 and main.head_at is not None
    tree.end("cooler")
    assert looked(database) == ["main"]


def test_what_failed_is_looked_at_until_it_was_noticed(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    tree.end("main", "failed")
    assert looked(database) == ["cooler", "main"]
    assert looked(database, time.time() + 60) == []
    with database.transaction() as connection:
        key = f"crash:{tree.segment('main').id}"
        add_alert(connection, tree.branches["main"], key=key, kind="crash")
    assert looked(database) == ["cooler"]


def test_what_was_deleted_is_not_looked_at(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    tree.end("cooler", "failed")
    control.delete(database, "demo/cooler", actor="ann")
    assert looked(database) == ["main"]


def test_the_newest_point_is_that_of_any_metric(database: Database, tree: Tree) -> None:
    with database.read() as connection:
        assert watched.newest_point(connection, tree.segment("main").id) is None
    tree.points("main", "loss", range(1, 5))
    tree.points("main", "lr", range(1, 9))
    with database.read() as connection:
        assert watched.newest_point(connection, tree.segment("main").id) == (8, 1e9 + 8)

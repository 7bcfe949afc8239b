"""Launches of all runs in the order of the queue."""

from __future__ import annotations

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.orders import queue as orders
from branchtrack.db.views import queue
from tests.trees_for_tests import make_forked_tree


def test_those_with_a_process_come_first_then_the_queue_and_the_latest_end_is_first(
    database: Database, store: Store
) -> None:
    _tree, made = make_forked_tree(database, store)
    ordered = [
        control.create_launch(
            database, store, made[1].id, actor="ann", name=name, priority=priority
        )
        for name, priority in (("a", 0), ("b", 9), ("c", 1), ("d", 0), ("e", 0))
    ]
    with database.transaction() as connection:
        orders.claim(connection, "w", ordered[3].id)
        for launch in (ordered[0], ordered[4]):
            orders.cancel(connection, launch.id, "bob")
    with database.read() as connection:
        rows, total = queue.unfinished(connection, 2)
        ends = queue.recent_ends(connection, 5)
        row = queue.row_of(connection, ordered[2].id)
    assert [(row.launch.branch, row.run) for row in rows] == [("d", "demo"), ("b", "demo")]
    assert total == 3
    assert [(end.launch.branch, end.segment) for end in ends] == [("e", None), ("a", None)]
    assert row.segment is not None and row.segment.id == ordered[2].segment_id

"""The names of runs and branches for a list of alerts."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.views import alert_names
from tests.db.watching.rows import add_alert
from tests.trees_for_tests import make_tree


def test_each_alert_gets_the_names_of_its_run_and_branch(database: Database, store: Store) -> None:
    first, second = make_tree(database, store, "a"), make_tree(database, store, "b")
    with database.transaction() as connection:
        rows = [add_alert(connection, tree.branches["main"]) for tree in (first, second)]
        names = alert_names.of(connection, rows)
        assert alert_names.of(connection, []) == {}
    assert [names[row.id] for row in rows] == [("a", "main"), ("b", "main")]

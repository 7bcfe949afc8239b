"""What differs between two nodes or branches, and since when."""

from __future__ import annotations

from branchtrack.analysis import diff
from branchtrack.checkpoints.packs import Store
from branchtrack.db import runs
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_forked_tree


def test_only_settings_that_differ_are_listed() -> None:
    found = diff.settings_difference({"lr": 1, "b": 2, "c": 3}, {"lr": 2, "b": 2, "d": 4})
    assert [(one.name, one.a, one.b) for one in found] == [
        ("c", 3, None),
        ("d", None, 4),
        ("lr", 1, 2),
    ]


def test_two_branches_differ_from_their_common_ancestor_on(
    database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(database, store)
    with database.read() as connection:
        a, b = (runs.get_branch(connection, tree.branches[n].id) for n in ("main", "cooler"))
        found = diff.branches_difference(connection, a, b)
    assert found.ancestor is not None and found.ancestor.id == made[1].id
    assert [(one.name, one.a, one.b) for one in found.settings] == [("lr", 0.02, 0.001)]
    assert [node.id for node in found.changes_a] == [made[2].id]
    assert [node.id for node in found.changes_b] == [made[4].id]
    assert found.metrics["loss"] == (30, 120)


def test_two_nodes_differ_by_what_they_hold_and_not_by_what_came_later(
    database: Database, store: Store
) -> None:
    _tree, made = make_forked_tree(database, store)
    with database.read() as connection:
        found = diff.nodes_difference(connection, made[1], made[5])
    assert found.ancestor is not None and found.ancestor.id == made[1].id
    assert found.metrics == {"loss": (2.0, 1.0)}
    assert found.changes_a == ()

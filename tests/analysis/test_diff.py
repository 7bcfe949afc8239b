"""What differs between two nodes or branches, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from branchtrack.analysis import diff
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change
from branchtrack.db import runs
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_forked_tree


@dataclass(frozen=True)
class Dot:
    """A node on a line."""

    id: str
    changes: tuple[Change, ...] = ()


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


def test_lines_of_different_trees_have_no_common_ancestor() -> None:
    assert diff.common_ancestor([Dot("b"), Dot("a")], [Dot("c"), Dot("a")]) == Dot("a")
    assert diff.common_ancestor([Dot("a")], [Dot("b"), Dot("a")]) == Dot("a")
    assert diff.common_ancestor([Dot("a")], [Dot("b")]) is None


def test_changes_are_listed_down_to_the_ancestor_without_it() -> None:
    change = (Change("lr", 1, 2),)
    line = [Dot("d", change), Dot("c"), Dot("b", change), Dot("a", change)]
    assert [dot.id for dot in diff.changed_since(line, Dot("a"))] == ["d", "b"]
    assert [dot.id for dot in diff.changed_since(line, None)] == ["d", "b", "a"]

"""A tree without its nodes, in one statement."""

from __future__ import annotations

import time

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Branch
from branchtrack.db import audit, runs
from branchtrack.db.engine import Database
from branchtrack.db.views import tree_outline
from branchtrack.db.views.tree_outline import TreeSummary
from tests.trees_for_tests import Tree, make_forked_tree


def outline_of(tree: Tree) -> TreeSummary:
    with tree.database.read() as connection:
        return tree_outline.trees(connection, [tree.run.id])[tree.run.id]


def test_the_last_trouble_of_a_segment_is_shown_until_it_is_over(
    database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(database, store)
    a, b = (tree.segment(name).id for name in ("main", "cooler"))

    def note(segment: str, state: str, reason: str = "") -> None:
        with tree.database.transaction() as connection:
            audit.append(
                connection,
                tree.run.id,
                kind="trouble",
                ref=segment,
                state=state,
                actor="run",
                reason=reason,
                step=4,
                payload={"what": "commit", "time": 1.0},
            )

    def reasons() -> dict[str, str]:
        return {ref: event.reason for ref, event in outline_of(tree).troubles.items()}

    assert reasons() == {}
    note(a, "begun", "full")
    note(b, "begun", "gone")
    assert reasons() == {a: "full", b: "gone"}
    note(a, "over")
    assert reasons() == {b: "gone"}
    note(a, "begun", "full again")
    assert reasons() == {a: "full again", b: "gone"}


def test_a_branch_without_a_segment_is_empty(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        runs.create_branch(connection, tree.run.id, "bare")
    outline, now = outline_of(tree), time.time()
    by_name: dict[str, Branch] = {branch.name: branch for branch in outline.branches}
    assert outline.status(by_name["bare"], now) == "empty"
    assert outline.status(by_name["main"], now) == "running"
    assert outline.status(by_name["main"], now + 60) == "lost"
    assert outline.saves(by_name["bare"]) is None


def test_more_nodes_are_read_than_one_statement_may_name(
    sqlite_database: Database, store: Store
) -> None:
    _tree, made = make_forked_tree(sqlite_database, store)
    ids = [*(f"{number:016x}" for number in range(40_000)), made[0].id]
    with sqlite_database.read() as connection:
        assert list(tree_outline.nodes_by_id(connection, ids)) == [made[0].id]

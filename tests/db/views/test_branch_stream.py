"""All that happens on a branch, for readers that follow it."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.db.views import branch_stream
from tests.trees_for_tests import Tree, make_forked_tree


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    grown, _nodes = make_forked_tree(database, store)
    return grown


def go_back(tree: Tree, to: str) -> None:
    """Main's process continues in another branch."""
    with tree.database.transaction() as connection:
        made = requests.add(
            connection,
            tree.branches["main"],
            kind="rewind",
            payload={},
            requested={"node": "abcd"},
            actor=Actor("anna"),
            reason="",
        )
        for state in ("accepted", "applied", "done"):
            facts = {"result": {"branch": to}} if state == "done" else {}
            requests.move(connection, made.id, state, actor="anna", **facts)


def test_a_branch_is_followed_where_its_process_went_back_to(
    database: Database, tree: Tree
) -> None:
    main, cooler = tree.branches["main"], tree.branches["cooler"]
    with database.read() as connection:
        assert [b.name for b in branch_stream.followed(connection, main)] == ["main"]
    go_back(tree, "cooler")
    with database.read() as connection:
        line = branch_stream.followed(connection, main)
        assert [branch.name for branch in line] == ["main", "cooler"]
        assert [b.name for b in branch_stream.followed(connection, cooler)] == ["cooler"]
        stretches = branch_stream.stretches(connection, line)
    assert [(each.branch, each.is_last) for each in stretches] == [
        ("main", False),
        ("cooler", True),
    ]


def test_points_of_a_step_are_one(database: Database, tree: Tree) -> None:
    tree.points("main", "eval_loss", range(10, 31, 10))
    with database.read() as connection:
        line = branch_stream.stretches(connection, [tree.branches["main"]])
        points = branch_stream.points(connection, line, (0, 18), 2e9)
    assert [point.step for point in points] == list(range(19, 31))
    assert points[1].values == {"loss": 20.0, "eval_loss": 20.0} and points[1].time == 1e9 + 20


def test_the_newest_step_may_still_grow(database: Database, tree: Tree) -> None:
    with database.read() as connection:
        line = branch_stream.stretches(connection, [tree.branches["main"]])
        points = branch_stream.points(connection, line, (0, 28), 1e9 + 31)
    assert [point.step for point in points] == [29]


def test_entries_are_those_of_the_branch_alone(
    database: Database, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.read() as connection:
        log = branch_stream.entries(connection, [tree.branches["main"]], 0)
        assert [entry.node.step for entry in log if entry.node] == [0, 10, 20, 30]
        monkeypatch.setattr(branch_stream, "_ENTRIES", 1)
        cooler = [tree.branches["cooler"]]
        first = branch_stream.entries(connection, cooler, 0)
        assert [entry.branch for entry in first] == ["cooler"]


def test_checkpoints_are_the_newest_nodes_in_order(
    database: Database, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch_stream, "_CHECKPOINTS", 3)
    with database.read() as connection:
        stored = branch_stream.checkpoints(connection, [tree.branches["main"].id])
    assert [record.step for record in stored] == [10, 20, 30]

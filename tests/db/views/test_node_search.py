"""Nodes of all runs that a query matches."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import select

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.queries.language import parse
from branchtrack.db import labels, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.tables import checkpoints
from branchtrack.db.tables import nodes as node_table
from branchtrack.db.views import node_search
from tests.trees_for_tests import Tree, make_forked_tree, make_tree


def steps(database: Database, query: str) -> list[str]:
    """The matches as ``branch@step``."""
    with database.read() as connection:
        result = node_search.search(connection, parse(query), 100)
    return [f"{match.branch}@{match.node.step}" for match in result.matches]


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    grown, _nodes = make_forked_tree(database, store)
    return grown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("lr<0.01", ["cooler@20", "cooler@10"]),
        ("loss<1.5", ["cooler@20"]),
        ("not loss<1.5", ["main@10"]),
        ("loss<1.5 or lr>0.01", ["cooler@20", "main@30", "main@20"]),
        ("kind:fork", ["cooler@10"]),
        ("kind:fork or kind:root", ["cooler@10", "main@0"]),
        ("branch:main step:10..20", ["main@20", "main@10"]),
        ("run:demo since:1h kind:final", ["main@30"]),
        ("run:other", []),
        ("max(loss)>100", ["cooler@20", "cooler@10"]),
        ("best(loss)<=1 kind:final", ["main@30"]),
        ("worst(loss)=30 kind:root", ["main@0"]),
        ("last(loss)=120 kind:fork", ["cooler@10"]),
        ("last(missing)<1", []),
    ],
)
def test_nodes_are_searched_newest_first(
    database: Database, tree: Tree, query: str, expected: list[str]
) -> None:
    assert steps(database, query) == expected


def test_nodes_of_all_runs_are_searched(database: Database, store: Store, tree: Tree) -> None:
    other = make_tree(database, store, "other")
    other.node("main", 5)
    with database.read() as connection:
        result = node_search.search(connection, parse("branch:main step:0..5"), 10)
    assert [(match.run, match.node.step) for match in result.matches] == [("other", 5), ("demo", 0)]
    assert steps(database, "run:oth*") == ["main@5"]


def test_a_page_ends_with_where_the_next_one_begins(database: Database, tree: Tree) -> None:
    pages, before = [], None
    with database.read() as connection:
        for _page in range(3):
            result = node_search.search(connection, parse("lr>0"), 2, before)
            pages.append([match.node.step for match in result.matches])
            before = result.next
    assert pages == [[20, 10], [30, 20], [10, 0]] and before is None


def test_more_nodes_are_read_than_one_batch(
    database: Database, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_search, "_BATCH", 2)
    assert steps(database, "loss<5") == ["cooler@20", "main@10"]


def test_failed_branches_are_found_and_the_trash_is_not(database: Database, tree: Tree) -> None:
    tree.end("cooler", "failed")
    assert steps(database, "failed:yes") == ["cooler@20", "cooler@10"]
    assert steps(database, "status:running kind:final") == ["main@30"]
    control.delete(database, "demo/cooler", actor="test")
    assert steps(database, "lr>0") == ["main@30", "main@20", "main@10", "main@0"]


def test_tags_are_those_of_node_branch_or_run(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        node = nodes.find(connection, "demo@30")
        branch = runs.find_branch(connection, "demo/cooler")
        for item, tag in ((node, "good"), (branch, "good"), (tree.run, "mine")):
            labels.set_tags(connection, item, [tag], actor="test", why="")
    assert steps(database, "tag:good") == ["cooler@20", "cooler@10", "main@30"]
    assert len(steps(database, "tag:mi*")) == 6
    assert steps(database, "not tag:good kind:root") == ["main@0"]


def test_nan_matches_no_comparison(database: Database, tree: Tree) -> None:
    tree.node("main", 40, values={"loss": math.nan})
    assert "main@40" not in steps(database, "loss<9 or loss>9 or loss=9")
    assert "main@40" in steps(database, "metric.loss!=9")


def test_a_node_that_was_thinned_says_so(database: Database, tree: Tree) -> None:
    digest = select(node_table.c.state_digest).where(node_table.c.step == 30).scalar_subquery()
    with database.transaction() as connection:
        connection.execute(
            checkpoints.update().where(checkpoints.c.digest == digest).values(thinned="recipe")
        )
    with database.read() as connection:
        result = node_search.search(connection, parse("step:20..30 branch:main"), 10)
    assert [match.thinned for match in result.matches] == ["recipe", None]


def test_what_is_archived_can_be_left_out(database: Database, tree: Tree) -> None:
    assert steps(database, "archived:yes") == []
    control.label(database, "demo/cooler", actor="ann", archived=True)
    assert steps(database, "archived:yes") == ["cooler@20", "cooler@10"]
    assert steps(database, "archived:no kind:final") == ["main@30"]
    control.label(database, "demo", actor="ann", archived=True)
    assert steps(database, "archived:no") == []

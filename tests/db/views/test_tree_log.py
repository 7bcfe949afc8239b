"""The rows of a log: which checkpoints are folded, and what a search finds."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.views import tree_nodes
from branchtrack.db.views.tree_log import Log
from branchtrack.db.views.tree_nodes import TreeNodes
from tests.web import seeds
from tests.web.seeds import Line


@pytest.fixture
def main(database: Database, store: Store) -> Line:
    """A root, checkpoints at 1 to 9 with a change at 5, and a fork of the one at 7."""
    line = seeds.Grower(database, store, "digits").line("main", 100)
    line.commit("root", 0)
    for step in range(1, 5):
        line.commit("checkpoint", step, loss=1.0)
    line.commit("intervention", 5, {"lr": 1e-4}, "too hot")
    for step in (6, 7):
        line.commit("checkpoint", step)
    assert line.head is not None
    line.grower.fork(line.head, "side", lr=1e-5)
    for step in (8, 9, 10, 11):
        line.commit("checkpoint", step)
    return line


def read(database: Database, line: Line, log: Log, **options: int) -> TreeNodes:
    with database.read() as connection:
        return tree_nodes.read(connection, line.grower.run.id, log=log, limit=50, **options)


def rows(nodes: TreeNodes) -> list[tuple[int, int, int]]:
    return [(row.size, row.low, row.high) for row in nodes.page]


def test_plain_checkpoints_in_a_row_are_one_row(database: Database, main: Line) -> None:
    nodes = read(database, main, Log(is_folded=True))
    # What a branch left, its newest node and two in a row keep rows of their own.
    assert rows(nodes) == [
        (1, 11, 11),
        (3, 8, 10),
        (1, 7, 7),
        (1, 7, 7),
        (1, 6, 6),
        (1, 5, 5),
        (4, 1, 4),
        (1, 0, 0),
    ]
    fold = nodes.page[-2]
    assert (fold.node.step, nodes.by_id[fold.parent_id or ""].step) == (4, 0)
    assert (nodes.shown, nodes.count) == (8, 13)


def test_a_row_can_be_opened_by_its_oldest_node(database: Database, main: Line) -> None:
    fold = read(database, main, Log(is_folded=True)).page[-2]
    opened = read(database, main, Log(is_folded=True, opened=[fold.first_id]))
    assert rows(opened)[-5:] == [(1, step, step) for step in (4, 3, 2, 1, 0)]
    assert (3, 8, 10) in rows(opened)


def test_pages_of_a_folded_log_are_of_rows(database: Database, main: Line) -> None:
    with database.read() as connection:
        run = main.grower.run.id
        first = tree_nodes.read(connection, run, log=Log(is_folded=True), limit=3)
        second = tree_nodes.read(
            connection, run, log=Log(is_folded=True), limit=3, before=first.older
        )
    assert rows(first) == [(1, 11, 11), (3, 8, 10), (1, 7, 7)]
    assert rows(second) == [(1, 7, 7), (1, 6, 6), (1, 5, 5)]
    assert (second.newer, second.previous) == (3, None)
    assert {row.low for row in second.above} == {7, 8}


@pytest.mark.parametrize(
    ("search", "steps"), [("hot", [5]), ("lr", [7, 5]), ("side", [7]), ("root", [0]), ("50%", [])]
)
def test_a_search_finds_changes_reasons_branches_and_kinds(
    database: Database, main: Line, search: str, steps: list[int]
) -> None:
    nodes = read(database, main, Log(is_folded=True, search=search))
    assert [row.node.step for row in nodes.page] == steps


def test_a_search_finds_a_node_by_the_beginning_of_its_id(database: Database, main: Line) -> None:
    assert main.head is not None
    (row,) = read(database, main, Log(search=main.head.id[:9])).page
    assert row.node.id == main.head.id

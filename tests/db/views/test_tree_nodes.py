"""The nodes that pages of a tree read, with the few sums over all of them."""

from __future__ import annotations

import math

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.tree_log import Log
from branchtrack.db.views.tree_nodes import Thinning
from tests.web import seeds
from tests.web.seeds import Line


@pytest.fixture
def main(database: Database, store: Store) -> Line:
    """A branch of a root, 20 checkpoints and a change, the loss falling but for two oddities."""
    line = seeds.Grower(database, store, "digits").line("main", 100)
    line.commit("root", 0)
    for step in range(1, 21):
        line.commit("checkpoint", step, loss=3.0 - step / 10, eval_loss=2.0 - step / 20)
    line.commit("intervention", 21, {"lr": 1e-4}, loss=math.nan, eval_loss=math.inf)
    return line


def test_a_page_is_read_with_its_parents_and_where_it_stands(
    database: Database, main: Line
) -> None:
    run = main.grower.run.id
    with database.read() as connection:
        first = tree_nodes.read(connection, run, limit=5)
        second = tree_nodes.read(connection, run, limit=5, before=first.older)
        last = tree_nodes.read(connection, run, limit=5, before=second.page[-1].node.seq - 11)
    assert [row.node.step for row in first.page] == [21, 20, 19, 18, 17]
    assert [row.node.step for row in second.page] == [16, 15, 14, 13, 12]
    assert first.page[-1].parent_id in first.by_id and len(first.by_id) == 7
    assert (first.count, first.shown, first.newer, first.previous) == (22, 22, 0, None)
    assert (second.newer, second.previous) == (5, None)
    assert [row.node.step for row in second.above] == [17]
    assert (last.older, [row.node.step for row in last.page]) == (None, [0])
    assert last.newer == 21 and last.previous is not None
    assert first.page[0].node.metrics["eval_loss"] == math.inf


def test_bytes_are_added_up_where_that_is_asked_for(database: Database, main: Line) -> None:
    with database.read() as connection:
        summed = tree_nodes.read(connection, main.grower.run.id, limit=1, sums=True)
        plain = tree_nodes.read(connection, main.grower.run.id, limit=1)
    assert 0 < summed.stored_bytes < summed.logical_bytes and plain.stored_bytes == 0


def test_marks_are_every_change_and_few_of_the_plain_checkpoints(
    database: Database, main: Line
) -> None:
    assert main.head is not None
    side, _ = main.grower.order(main.head, "side", lr=1e-5)
    run = main.grower.run.id
    with database.read() as connection:
        every = tree_nodes.read(connection, run, marks=Thinning(0, 20, 4))
        few = tree_nodes.read(connection, run, marks=Thinning(0, 30, 2))
        of_side = tree_nodes.read(
            connection, run, log=Log([side.branch.id]), marks=Thinning(0, 30, 2), limit=9
        )
    assert [node.step for node in every.marks] == [20, 15, 10, 5, 1, 0]
    assert [(node.step, node.kind) for node in few.marks] == [
        (21, "fork"),
        (21, "intervention"),
        (15, "checkpoint"),
        (1, "checkpoint"),
        (0, "root"),
    ]
    assert (
        {node.kind for node in of_side.marks} == {row.node.kind for row in of_side.page} == {"fork"}
    )
    assert few.marks[2].metrics == {}
    assert (of_side.count, of_side.shown) == (23, 1)


def test_a_line_is_read_up_to_the_root_with_children(database: Database, main: Line) -> None:
    assert main.head is not None
    main.grower.order(main.head, "side", lr=1e-5)
    with database.read() as connection:
        marks = tree_outline.ancestors(connection, main.head.id)
        lineage = tree_nodes.lineage(
            connection, [main.head.id], ids=[marks[6].id], children_of=main.head.id
        )
        branches = tree_outline.branches_of(connection, [main.grower.run.id])
    assert [mark.step for mark in marks] == list(range(21, -1, -1))
    assert [(distance, node.step) for distance, node in lineage.lines[main.head.id]] == [
        (0, 21),
        (1, 20),
        (6, 15),
        (21, 0),
    ]
    assert {(node.step, node.kind) for node in lineage.by_id.values() if node.metrics} == {
        (15, "checkpoint"),
        (21, "fork"),
    }
    assert {(run, branch.name) for run, branch in branches.values()} == {
        ("digits", "main"),
        ("digits", "side"),
    }


def test_heads_come_as_whole_records_where_they_are_needed(database: Database, main: Line) -> None:
    assert main.head is not None
    side = main.grower.fork(main.head, "side", lr=1e-5)
    assert side.head is not None
    heads = [main.head.id, side.head.id]
    with database.read() as connection:
        whole = tree_nodes.lineage(connection, heads, ids=heads, whole=True)
        assert whole.heads == tree_outline.nodes_by_id(connection, heads)
        assert tree_nodes.lineage(connection, heads, ids=heads).heads == {}


def test_nodes_are_read_in_the_order_of_their_commits(database: Database, main: Line) -> None:
    run = main.grower.run.id
    with database.read() as connection:
        first, total = tree_nodes.page(connection, run, 3, 0)
        second, _ = tree_nodes.page(connection, run, 30, first[-1].seq)
        changed, count = tree_nodes.page(connection, run, 9, 0, kind="intervention")
        nothing = tree_nodes.page(connection, run, 9, 0, branch_id="nope")
    assert ([node.step for node in first], total) == ([0, 1, 2], 22)
    assert [node.step for node in second] == list(range(3, 22))
    assert ([node.step for node in changed], count) == ([21], 1)
    assert nothing == ([], 0)

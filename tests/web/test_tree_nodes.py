"""The nodes that pages of a tree read, on both kinds of database: `db.tree_nodes`, and the parts of
`db.selections` that read no more of a curve than is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.views import chart_series, tree_nodes, tree_outline
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
        last = tree_nodes.read(connection, run, limit=5, before=second.page[-1].seq - 11)
    assert [node.step for node in first.page] == [21, 20, 19, 18, 17]
    assert [node.step for node in second.page] == [16, 15, 14, 13, 12]
    assert first.page[-1].parent_id in first.by_id and len(first.by_id) == 7
    assert (first.count, first.shown, first.newer, first.previous) == (22, 22, 0, None)
    assert (second.newer, second.previous) == (5, None)
    assert [node.step for node in second.above] == [17]
    assert (last.older, [node.step for node in last.page]) == (None, [0])
    assert last.newer == 21 and last.previous is not None
    assert first.page[0].metrics["eval_loss"] == math.inf


def test_the_lowest_value_is_found_among_those_that_are_numbers(
    database: Database, main: Line
) -> None:
    with database.read() as connection:
        found = tree_nodes.read(connection, main.grower.run.id, best="eval_loss")
        none = tree_nodes.read(connection, main.grower.run.id, best="accuracy", limit=1)
    assert found.by_id[found.best_id or ""].step == 20
    assert none.best_id is None and none.page[0].step == 21
    assert 0 < none.stored_bytes < none.logical_bytes


def test_marks_are_every_change_and_few_of_the_plain_checkpoints(
    database: Database, main: Line
) -> None:
    assert main.head is not None
    side, _ = main.grower.order(main.head, "side", lr=1e-5)
    run = main.grower.run.id
    with database.read() as connection:
        every = tree_nodes.read(connection, run, marks=Thinning(0, 20, 4))
        few = tree_nodes.read(connection, run, marks=Thinning(0, 30, 2))
        one = tree_nodes.read(
            connection, run, branch_ids=[side.branch.id], marks=Thinning(0, 30, 2), limit=9
        )
    assert [node.step for node in every.marks] == [20, 15, 10, 5, 1, 0]
    assert [(node.step, node.kind) for node in few.marks] == [
        (21, "fork"),
        (21, "intervention"),
        (15, "checkpoint"),
        (1, "checkpoint"),
        (0, "root"),
    ]
    assert {node.kind for node in one.marks} == {node.kind for node in one.page} == {"fork"}
    assert few.marks[2].metrics == {}
    assert (one.count, one.shown) == (23, 1)


def test_a_line_is_read_up_to_the_root_with_children(database: Database, main: Line) -> None:
    assert main.head is not None
    main.grower.order(main.head, "side", lr=1e-5)
    with database.read() as connection:
        marks = tree_outline.ancestors(connection, main.head.id)
        found = tree_nodes.lineage(
            connection, [main.head.id], ids=[marks[6].id], children_of=main.head.id
        )
        known = tree_outline.branches_of(connection, [main.grower.run.id])
    assert [mark.step for mark in marks] == list(range(21, -1, -1))
    assert [(distance, node.step) for distance, node in found.lines[main.head.id]] == [
        (0, 21),
        (1, 20),
        (6, 15),
        (21, 0),
    ]
    assert {(node.step, node.kind) for node in found.by_id.values() if node.metrics} == {
        (15, "checkpoint"),
        (21, "fork"),
    }
    assert {(run, branch.name) for run, branch in known.values()} == {
        ("digits", "main"),
        ("digits", "side"),
    }


def test_the_ends_of_curves_are_read_without_the_curves(database: Database, main: Line) -> None:
    ids = [main.segment.id]
    with database.read() as connection:
        assert chart_series.last_points(connection, ids, "loss") == {}
    main.log("loss", range(1, 1025), np.linspace(3, 1, 1024))
    with database.read() as connection:
        assert chart_series.last_points(connection, ids, "loss") == {ids[0]: (1024, 1.0)}
    main.log("loss", [1025], [math.nan])
    with database.read() as connection:
        step, value = chart_series.last_points(connection, ids, "loss")[ids[0]]
    assert step == 1025 and math.isnan(value)


def test_of_a_window_its_blocks_are_read_and_what_smoothing_reaches_back_to(
    database: Database, main: Line
) -> None:
    ids = [main.segment.id]
    values = np.random.default_rng(0).normal(size=8000)
    main.log("loss", range(1, 8001), values)
    with database.read() as connection:
        part = chart_series.read_series(
            connection, ids, ["loss"], lows={ids[0]: 5000}, highs={ids[0]: 5100}
        )["loss"][ids[0]]
        late = chart_series.read_series(connection, ids, ["loss"], lows={ids[0]: 7990})["loss"]
    assert (part.steps[0], part.steps[-1]) == (2049, 5120)
    assert part.values.tolist() == values[2048:5120].tolist()
    assert late[ids[0]].steps[-1] == 8000 and late[ids[0]].steps[0] > 4000


def test_of_each_segment_what_lies_beyond_its_high_is_not_read(
    database: Database, main: Line
) -> None:
    assert main.head is not None
    side = main.grower.fork(main.head, "side", lr=1e-4)
    for line in (main, side):
        line.log("loss", range(1, 3001), np.arange(3000))
    ids = [main.segment.id, side.segment.id]
    with database.read() as connection:
        series = chart_series.select_series(
            connection, ids, "loss", highs={ids[0]: 40, ids[1]: None}
        ).series["loss"]
    assert series[ids[0]].steps.tolist() == list(range(1, 1025))
    assert series[ids[1]].steps.tolist() == list(range(1, 3001))


def test_without_times_the_points_are_the_same(database: Database, main: Line) -> None:
    main.log("loss", range(1, 1101), np.arange(1100))
    ids = [main.segment.id]
    with database.read() as connection:
        whole = chart_series.read_series(connection, ids, ["loss"])["loss"][ids[0]]
        bare = chart_series.read_series(connection, ids, ["loss"], timed=False)["loss"][ids[0]]
    assert bare.steps.tolist() == whole.steps.tolist()
    assert bare.values.tolist() == whole.values.tolist()
    assert np.isnan(bare.times[:1024]).all() and np.isfinite(whole.times).all()

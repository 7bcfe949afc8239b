"""The queries that pages make, on both kinds of database."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.analysis import curves, downsample
from branchtrack.checkpoints.packs import Store
from branchtrack.db import audit, nodes, requests, runs
from branchtrack.db.engine import Database
from branchtrack.db.metrics import Series
from branchtrack.db.views import chart_series, run_list, tree_nodes, tree_outline
from branchtrack.errors import NotFound
from tests.web import seeds
from tests.web.seeds import Line


@pytest.fixture
def main(database: Database, store: Store) -> Line:
    """A branch of 40 steps with two nodes."""
    line = seeds.Grower(database, store, "digits").line("main", 100)
    line.commit("root", 0)
    line.log("loss", range(1, 41), [4.0 - step / 20 for step in range(1, 41)])
    line.commit("checkpoint", 40, loss=2.0)
    return line


def test_a_tree_is_read_whole(database: Database, main: Line) -> None:
    assert main.head is not None
    side, _ = main.grower.order(main.head, "side", lr=1e-4)
    run = main.grower.run
    with database.read() as connection:
        trees = tree_outline.trees(connection, [run.name, run.id, run.id[:6]])
        assert trees[run.name] == trees[run.id] == trees[run.id[:6]]
        tree = trees[run.name]
        assert [branch.name for branch in tree.branches] == ["main", "side"]
        assert tree.segments.keys() == {main.segment.id, side.segment.id}
        assert tree.segments[side.segment.id].status == "waiting"
        assert tree.cursor == audit.last_id(connection, run.id)
        assert tree.run == runs.get_run(connection, run.id)
        assert list(tree.branches) == runs.list_branches(connection, run.id)


def test_a_run_without_branches_is_a_tree_too(database: Database, store: Store) -> None:
    seeds.Grower(database, store, "bare")
    with database.read() as connection:
        tree = tree_outline.trees(connection, ["bare"])["bare"]
    assert (tree.branches, dict(tree.segments)) == ((), {})


def test_a_run_that_there_is_not_is_refused(database: Database, main: Line) -> None:
    with database.read() as connection, pytest.raises(NotFound):
        tree_outline.trees(connection, [main.grower.run.name, "nope"])


def test_lines_are_the_nodes_with_the_bytes_of_their_checkpoints(
    database: Database, main: Line
) -> None:
    with database.read() as connection:
        page = tree_nodes.read(connection, main.grower.run.id, limit=9).page
        lines = [row.node for row in page]
        whole = nodes.list_of_run(connection, main.grower.run.id)
        assert [line.id for line in lines] == [node.id for node in whole]
        assert [line.changes for line in lines] == [node.changes for node in whole]
        assert lines[0].metrics == {"loss": 2.0}
        stored = nodes.checkpoint(connection, whole[0].state_digest)
        assert (lines[0].stored_bytes, lines[0].logical_bytes) == (
            stored.stored_bytes,
            stored.logical_bytes,
        )
        by_id = tree_outline.nodes_by_id(connection, [whole[0].id, "nope"])
        assert by_id == {whole[0].id: whole[0]}


def test_the_log_is_read_by_pages_from_a_cursor_and_by_what_fits(
    database: Database, main: Line
) -> None:
    main.ask({"kind": "checkpoint"}, "why", "applied done", step=40)
    main.ask({"kind": "evaluate"}, "another")
    run_id = main.grower.run.id
    with database.read() as connection:
        every = audit.since(connection, run_id)
        assert audit.after(connection, run_id, 2, 3) == every[2:5]
        assert audit.page(connection, run_id, 3, every[-1].seq) == every[-4:-1][::-1]
        request, other = requests.list_of_run(connection, run_id, branch_id=main.branch.id)
        assert requests.list_of_run(connection, run_id, branch_id="nope") == []
        events = audit.page(connection, run_id, 9, kind="request", actor="trainer", ref=other.id)
        assert [event.state for event in events] == ["done", "applied"]
        assert audit.page(connection, run_id, 9, ref=request.id)[-1].state == "received"
        assert audit.actors_of(connection, run_id) == ["anna", "trainer"]


def test_what_the_maths_used_last_is_found(database: Database, main: Line) -> None:
    with database.read() as connection:
        assert nodes.last_effective(connection, main.branch.id) == {}
    main.commit("intervention", 50, {"lr": 1e-4})
    main.commit("checkpoint", 60)
    with database.read() as connection:
        assert nodes.last_effective(connection, main.branch.id)["step"] == 51


def test_runs_are_found_by_name_notes_and_tags(database: Database, store: Store) -> None:
    for name in ("alpha", "beta"):
        seeds.Grower(database, store, name).line("main").commit("root", 0)
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE runs SET notes = 'too hot' WHERE name = 'alpha'")
        connection.exec_driver_sql("""UPDATE runs SET tags = '["gpt"]' WHERE name = 'beta'""")
    with database.read() as connection:
        assert [entry.run.name for entry in run_list.find_runs(connection)] == ["beta", "alpha"]
        assert [entry.run.name for entry in run_list.find_runs(connection, "ALPH")] == ["alpha"]
        assert [entry.run.name for entry in run_list.find_runs(connection, "hot")] == ["alpha"]
        entries = run_list.find_runs(connection, "gpt")
        assert (entries[0].run.name, entries[0].branches, entries[0].nodes) == ("beta", 1, 1)
        assert [entry.total for entry in run_list.find_runs(connection, limit=1)] == [2]
        assert run_list.find_runs(connection, "%") == []


def test_a_curve_stitched_from_what_was_read_is_the_one_that_is_read(
    database: Database, main: Line
) -> None:
    assert main.head is not None
    side = main.grower.fork(main.head, "side", lr=1e-4)
    main.log("loss", range(41, 61), [9.0] * 20)
    side.log("loss", range(41, 51), [1.0] * 10)
    with database.read() as connection:
        read = curves.branch_curve(connection, side.branch, "loss")
        starts = nodes.starts(connection, main.grower.run.id)
        ids = [main.segment.id, side.segment.id]
        series = chart_series.read_series(connection, ids, ["loss"])["loss"]
    stitched = curves.stitched(side.branch, "loss", starts, series)
    assert stitched.series.steps.tolist() == read.series.steps.tolist() == list(range(1, 51))
    assert stitched.series.values.tolist() == read.series.values.tolist()
    assert stitched.spans == read.spans


def smoothed(series: Series, weight: float) -> np.ndarray:
    """The debiased moving average by its definition, value after value."""
    result, mean, norm = np.full(series.values.size, np.nan), 0.0, 0.0
    for index in np.flatnonzero(np.isfinite(series.values)):
        mean = weight * mean + (1 - weight) * series.values[index]
        norm = weight * norm + (1 - weight)
        result[index] = mean / norm
    return result


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.9, 0.99])
def test_smoothing_at_some_steps_is_smoothing_everywhere(weight: float) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=3000)
    values[[5, 6, 700]] = np.nan
    series = Series(np.arange(3000, dtype=np.int64), values, np.arange(3000.0))
    steps = np.array([0, 1, 5, 7, 700, 701, 2999], np.int64)
    smooth = downsample.smooth_at(series, weight, steps)
    whole = smoothed(series, weight)[steps]
    np.testing.assert_allclose(smooth, whole, atol=1e-4, equal_nan=True)


def test_smoothing_nothing_gives_nothing() -> None:
    assert downsample.smooth_at(Series.empty(), 0.6, np.empty(0, np.int64)).size == 0

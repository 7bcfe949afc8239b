"""A branch's curve: stitched over forks and restarts, nothing doubled, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.analysis import curves
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Branch
from branchtrack.db import metrics, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.metrics import Series
from branchtrack.db.views import chart_series
from branchtrack.errors import InvalidInput, NotFound
from tests.trees_for_tests import Tree, make_forked_tree


def curve(tree: Tree, name: str, metric: str = "loss") -> curves.Curve:
    with tree.database.read() as connection:
        return curves.branch_curve(connection, fresh(tree, name), metric)


def fresh(tree: Tree, name: str) -> Branch:
    with tree.database.read() as connection:
        return runs.get_branch(connection, tree.branches[name].id)


def test_the_child_takes_the_parents_points_up_to_the_fork(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    found = curve(tree, "cooler")
    assert found.series.steps.tolist() == list(range(1, 21))
    assert found.series.values.tolist() == [*range(1, 11), *range(111, 121)]
    assert found.forks == [10]


def test_the_parent_keeps_its_own_points(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    found = curve(tree, "main")
    assert found.series.values.tolist() == list(range(1, 31))
    assert found.forks == []


def test_a_restart_after_a_crash_cuts_the_lost_tail(
    sqlite_database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(sqlite_database, store)
    twenty = made[2]
    with sqlite_database.transaction() as connection:
        segments.create(connection, tree.run.id, tree.branches["main"].id, twenty.id, 20)
    tree.points("main", "loss", range(21, 26), range(921, 926))
    found = curve(tree, "main")
    assert found.series.steps.tolist() == list(range(1, 26))
    assert found.series.values.tolist() == [*range(1, 21), *range(921, 926)]


def test_a_fork_of_a_fork_takes_from_all_its_ancestors(
    sqlite_database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(sqlite_database, store)
    tree.branch("third", made[-1])
    tree.node("third", 20, made[-1], kind="fork")
    tree.points("third", "loss", range(21, 24), range(221, 224))
    found = curve(tree, "third")
    assert found.series.values.tolist() == [*range(1, 11), *range(111, 121), *range(221, 224)]
    assert found.forks == [10, 20]


def test_a_metric_that_one_side_lacks_is_drawn_where_it_is(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    tree.points("cooler", "eval_loss", range(15, 16))
    assert curve(tree, "cooler", "eval_loss").series.steps.tolist() == [15]
    with pytest.raises(NotFound, match="loss"):
        curve(tree, "main", "eval_loss")


def test_an_unknown_metric_is_answered_with_those_there_are(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    with pytest.raises(NotFound, match="Did you mean: loss"):
        curve(tree, "main", "los")


def test_many_blocks_are_stitched_like_few_points(sqlite_database: Database, store: Store) -> None:
    tree, made = make_forked_tree(sqlite_database, store)
    tree.points("main", "x", range(5000))
    late = tree.node("main", 3333, made[3])
    tree.branch("late", late)
    tree.points("late", "x", range(3334, 5000), range(-5000, -3334))
    found = curve(tree, "late", "x").series
    assert np.array_equal(found.steps, np.arange(5000))
    assert found.values[3333] == 3333 and found.values[3334] == -5000


def test_the_difference_is_taken_at_common_steps_only() -> None:
    a = Series(np.array([1, 2, 4]), np.array([1.0, 2, 4]), np.zeros(3))
    b = Series(np.array([2, 3, 4]), np.array([5.0, 6, 7]), np.zeros(3))
    found = curves.difference(a, b)
    assert (found.steps.tolist(), found.values.tolist()) == ([2, 4], [3.0, 3.0])
    assert curves.difference(a, b, after=2).steps.tolist() == [4]


def test_a_cursor_holds_until_points_before_it_are_cut_away(
    database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(database, store)
    whole = curve(tree, "main")
    early, late = whole.cursor(15), whole.cursor(30)
    assert (whole.step_of(early), whole.step_of(late)) == (15, 30)
    # A fork at step 10 has the points of its parent up to there.
    assert curve(tree, "cooler").step_of(whole.cursor(10)) == 10
    assert curve(tree, "cooler").step_of(early) is None
    with database.transaction() as connection:
        segments.create(connection, tree.run.id, tree.branches["main"].id, made[2].id, 20)
    assert (curve(tree, "main").step_of(early), curve(tree, "main").step_of(late)) == (15, None)
    with pytest.raises(InvalidInput):
        whole.step_of("x")


def test_the_newest_points_are_those_of_the_whole_line(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.read() as connection:
        main = curves.newest_points(connection, fresh(tree, "main"))
        cooler = curves.newest_points(connection, fresh(tree, "cooler"))
    assert (main["loss"], cooler["loss"]) == ((30, 30.0), (20, 120.0))


def test_a_curve_since_a_cursor_is_the_whole_curve_cut_there(
    database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        segments.create(connection, tree.run.id, tree.branches["main"].id, _nodes[2].id, 20)
    tree.points("main", "loss", range(21, 2100))
    # Steps that are logged again, of which older values lie in a block.
    tree.points("main", "loss", range(1000, 1010), range(10))
    main, cooler = fresh(tree, "main"), fresh(tree, "cooler")
    segment_ids = {span.segment for name in ("main", "cooler") for span in curve(tree, name).spans}
    with database.read() as connection:
        for branch in (main, cooler):
            whole = curves.branch_curve(connection, branch, "loss")
            for segment in sorted(segment_ids):
                for at in (0, 9, 10, 11, 20, 21, 25, 1004, 1024, 1500, 2098, 2099, 2100):
                    part, step = curves.curve_since(connection, branch, "loss", f"{segment}:{at}")
                    assert step == whole.step_of(f"{segment}:{at}")
                    expected = whole.series if step is None else whole.series.cut(at - 1, None)
                    assert np.array_equal(part.series.steps, expected.steps)
                    assert np.array_equal(part.series.values, expected.values)
                    assert np.array_equal(part.series.times, expected.times)
                    assert part.spans == whole.spans


def test_points_before_a_cursor_are_not_read(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, _nodes = make_forked_tree(database, store)
    tree.points("main", "loss", range(31, 3000))
    blocks = list[bytes]()
    read_block = chart_series._block

    def count(steps: bytes, values: bytes, times: bytes | None) -> Series:
        blocks.append(steps)
        return read_block(steps, values, times)

    monkeypatch.setattr(chart_series, "_block", count)
    monkeypatch.setattr(metrics, "read", lambda *_: pytest.fail("the whole series was read"))
    branch = fresh(tree, "main")
    with database.read() as connection:
        part, step = curves.curve_since(connection, branch, "loss", f"{branch.segment_id}:2990")
        assert (step, part.series.steps[0], part.series.steps[-1]) == (2990, 2990, 2999)
        assert blocks == []
        curves.curve_since(connection, branch, "loss", f"{branch.segment_id}:1500")
    assert len(blocks) == 1


def test_a_metric_that_there_is_not_is_refused_with_a_cursor_too(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    branch = fresh(tree, "main")
    with sqlite_database.read() as connection, pytest.raises(NotFound):
        curves.curve_since(connection, branch, "nope", f"{branch.segment_id}:5")

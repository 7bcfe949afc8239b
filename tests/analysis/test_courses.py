"""A branch's curve in buckets says what all of its points say."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.analysis import courses, curves, downsample
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Branch
from branchtrack.db import nodes, runs
from branchtrack.db.browsing.buckets import WEIGHTS
from branchtrack.db.engine import Database
from branchtrack.db.metrics import Series
from branchtrack.db.views.course_series import read_buckets
from branchtrack.errors import NotFound
from tests.trees_for_tests import Tree, make_tree

_STEPS = 20_000


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    """Three branches of twenty blocks, forked within blocks, with NaN and steps logged again."""
    tree = make_tree(sqlite_database, store, "long")
    noise = np.random.default_rng(1)

    def log(name: str, first: int) -> None:
        values = noise.normal(size=_STEPS)
        values[[5, 6, 7000, 12_345]] = np.nan
        values[9000] = np.inf
        tree.points(name, "loss", range(first, first + _STEPS), values)

    root = tree.node("main", 0)
    log("main", 1)
    tree.points("main", "loss", range(4000, 4020), np.full(20, 9.0))
    middle = tree.node("main", 12_400, root)
    tree.branch("child", middle)
    log("child", 12_401)
    late = tree.node("child", 15_000, tree.node("child", 12_400, middle, kind="fork"))
    tree.branch("grandchild", late)
    log("grandchild", 15_001)
    return tree


def branches(tree: Tree) -> list[Branch]:
    with tree.database.read() as connection:
        return [runs.get_branch(connection, branch.id) for branch in tree.branches.values()]


def whole(tree: Tree, branch: Branch) -> Series:
    with tree.database.read() as connection:
        return curves.branch_curve(connection, branch, "loss").series


def test_branches_stitched_of_buckets_have_the_averages_of_their_points(tree: Tree) -> None:
    lines = branches(tree)
    with tree.database.read() as connection:
        starts = nodes.starts(connection, tree.run.id)
        spans = [curves.stitched(branch, "loss", starts, {}).spans for branch in lines]
        ids = {span.segment for line in spans for span in line}
        buckets = read_buckets(connection, ids, ["loss"], cuts=courses.cuts(spans))["loss"]
    for branch in lines:
        course = courses.stitched(branch, "loss", starts, buckets)
        series = whole(tree, branch)
        assert course.buckets.steps.size < series.steps.size / 4
        assert int((course.buckets.count + course.buckets.broken).sum()) == series.steps.size
        ends = np.flatnonzero(np.isfinite(course.buckets.last))
        for weight in WEIGHTS:
            expected = downsample.smooth_at(series, weight, course.buckets.steps[ends])
            np.testing.assert_allclose(
                course.buckets.smooth(weight)[ends], expected, atol=2e-6 * 20
            )


def test_what_is_thinned_of_buckets_was_logged_and_lacks_no_spike(tree: Tree) -> None:
    for branch in branches(tree):
        series = whole(tree, branch)
        with tree.database.read() as connection:
            course = courses.branch_course(connection, branch, "loss", 200)
        assert not course.buckets.are_points
        thin = courses.thinned(course.buckets, 200)
        at = np.searchsorted(series.steps, thin.steps)
        for name in ("steps", "values", "times"):
            np.testing.assert_array_equal(getattr(thin, name), getattr(series, name)[at])
        finite = series.values[np.isfinite(series.values)]
        assert {finite.min(), finite.max()} <= set(thin.values.tolist())
        assert (thin.steps[0], thin.steps[-1]) == (series.steps[0], series.steps[-1])
        assert course.buckets.gaps.steps.tolist() == downsample.gaps(series)
        raw = downsample.downsample(series, 200)
        broken = ~np.isfinite(raw.values)
        assert thin.steps[~np.isfinite(thin.values)].tolist() == raw.steps[broken].tolist()
        assert thin.steps.size <= 200 + 2 + int(broken.sum())


def test_many_points_are_not_taken_of_few_buckets(tree: Tree) -> None:
    (main, *_others) = branches(tree)
    with tree.database.read() as connection:
        course = courses.branch_course(connection, main, "loss", 2000)
    assert course.buckets.are_points
    thin = courses.thinned(course.buckets, 2000)
    expected = downsample.downsample(whole(tree, main), 2000)
    np.testing.assert_array_equal(thin.steps, expected.steps)


@pytest.mark.parametrize(("first", "last"), [(5000, 5100), (12_000, 15_500), (None, 30), (1, None)])
def test_a_part_of_a_curve_is_that_part_of_the_whole(
    tree: Tree, first: int | None, last: int | None
) -> None:
    for branch in branches(tree):
        with tree.database.read() as connection:
            course = courses.branch_course(connection, branch, "loss", first=first, last=last)
        part = courses.thinned(course.buckets, None)
        expected = whole(tree, branch).cut(-1 if first is None else first - 1, last)
        for name in ("steps", "values", "times"):
            np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))


def test_an_unknown_metric_is_answered_with_those_there_are(tree: Tree) -> None:
    (main, *_others) = branches(tree)
    with tree.database.read() as connection, pytest.raises(NotFound, match="Did you mean: loss"):
        courses.branch_course(connection, main, "los")


def test_differences_are_exact_at_common_points_and_means_of_long_curves(tree: Tree) -> None:
    main, child, _grandchild = branches(tree)
    with tree.database.read() as connection:
        fine = [courses.branch_course(connection, branch, "loss") for branch in (main, child)]
        long = [courses.branch_course(connection, branch, "loss", 100) for branch in (main, child)]
    exact = courses.difference(fine[0].buckets, fine[1].buckets, 12_400)
    expected = curves.difference(whole(tree, main), whole(tree, child), 12_400)
    np.testing.assert_array_equal(exact.steps, expected.steps)
    np.testing.assert_array_equal(exact.values, expected.values)
    means = courses.difference(long[0].buckets, long[1].buckets, 12_400)
    assert 0 < means.steps.size <= 300 and bool(np.all(np.diff(means.steps) > 0))
    assert 12_400 < means.steps[0] and means.steps[-1] <= 20_000
    finite = expected.values[np.isfinite(expected.values)]
    assert abs(means.values.mean() - finite.mean()) < 0.1
    assert courses.difference(long[0].buckets, long[1].buckets, 10**6).steps.size == 0

"""Summaries say what points and blocks hold, as these are written, imported and purged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, select

from branchtrack.checkpoints.packs import Store
from branchtrack.db import copied_rows, metrics
from branchtrack.db.browsing import summaries
from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.deletion import purging
from branchtrack.db.engine import Database
from tests.trees_for_tests import Tree, make_tree

NAN, INF = math.nan, math.inf


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    return make_tree(database, store)


def log(
    database: Database,
    tree: Tree,
    points: Sequence[tuple[int, float]],
    known: metrics.Known | None = None,
) -> None:
    with database.transaction() as connection:
        rows = [("eval_loss", step, value, 1e9 + step) for step, value in points]
        metrics.append(connection, tree.segment("main").id, rows, known)


def stored(connection: Connection, name: str = "eval_loss") -> list[tuple[Any, ...]]:
    """(minimum, maximum, last step, last value) of each series of that name."""
    columns = (metric_summaries.c[key] for key in "minimum maximum last_step last".split())
    query = select(*columns).where(metric_summaries.c.name == name)
    return [tuple(row) for row in connection.execute(query)]


def summary(database: Database) -> list[tuple[Any, ...]]:
    """What is stored of `eval_loss`, which has to be what its points say."""
    with database.transaction() as connection:
        kept = stored(connection)
        summaries.rebuild(connection)
        assert stored(connection) == kept
    return kept


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([[(1, 3.0), (2, 1.0), (3, 2.0)]], (1.0, 3.0, 3, 2.0)),
        ([[(1, 3.0)], [(2, 1.0)], [(3, 5.0)]], (1.0, 5.0, 3, 5.0)),
        ([[(1, NAN)]], (None, None, 1, None)),
        ([[(1, NAN), (2, 4.0)], [(3, NAN)]], (4.0, 4.0, 3, None)),
        ([[(1, NAN)], [(2, 4.0)]], (4.0, 4.0, 2, 4.0)),
        ([[(1, 2.0), (2, INF)], [(3, -INF), (4, 0.0)]], (0.0, 2.0, 4, 0.0)),
        ([[(1, -INF)], [(2, INF)]], (None, None, 2, INF)),
        ([[(5, 2.0)], [(3, 1.0)]], (1.0, 2.0, 5, 2.0)),
    ],
)
def test_a_summary_has_the_extremes_and_the_newest_value(
    database: Database,
    tree: Tree,
    batches: list[list[tuple[int, float]]],
    expected: tuple[Any, ...],
) -> None:
    for batch in batches:
        log(database, tree, batch)
    assert summary(database) == [expected]


def test_blocks_and_tail_have_one_summary(database: Database, tree: Tree) -> None:
    known = metrics.Known()
    for first in range(0, 3000, 500):
        log(database, tree, [(step, float(-step)) for step in range(first, first + 500)], known)
    assert summary(database) == [(-2999.0, 0.0, 2999, -2999.0)]


def test_a_step_logged_again_only_widens_the_extremes(database: Database, tree: Tree) -> None:
    log(database, tree, [(1, 9.0), (2, 1.0)])
    log(database, tree, [(1, 2.0), (2, 3.0)])
    with database.transaction() as connection:
        assert stored(connection) == [(1.0, 9.0, 2, 3.0)]
        summaries.rebuild(connection, tree.run.id)
        assert stored(connection) == [(2.0, 3.0, 2, 3.0)]


def test_a_rebuild_of_a_run_leaves_other_runs_alone(
    database: Database, store: Store, tree: Tree
) -> None:
    other = make_tree(database, store, name="other")
    for grown in (tree, other):
        log(database, grown, [(1, 2.0)])
    with database.transaction() as connection:
        connection.execute(metric_summaries.update().values(minimum=-1.0))
        summaries.rebuild(connection, other.run.id)
        assert sorted(row[0] for row in stored(connection)) == [-1.0, 2.0]


def test_what_is_removed_has_no_summary(database: Database, tree: Tree) -> None:
    log(database, tree, [(1, 2.0)])
    with database.transaction() as connection:
        copied_rows.remove_series(connection, [tree.segment("main").id])
        assert stored(connection) == []
    log(database, tree, [(1, 2.0)])
    with database.transaction() as connection:
        purging.purge_branches(connection, [tree.branches["main"]], "ann")
        assert stored(connection) == []

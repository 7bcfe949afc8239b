"""Series: tail and blocks read as one, each step once, NaN and infinity kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sqlalchemy import func, select

from branchtrack.checkpoints.packs import Store
from branchtrack.db import metrics
from branchtrack.db.engine import Database
from branchtrack.db.metrics import Series
from branchtrack.db.tables import metric_blocks, metric_points
from tests.trees_for_tests import make_tree


@pytest.fixture
def segment(database: Database, store: Store) -> str:
    """The id of a segment without points."""
    return make_tree(database, store).segment("main").id


def add(
    database: Database, segment: str, steps: range, name: str = "loss", shift: float = 0
) -> None:
    with database.transaction() as connection:
        metrics.append(connection, segment, [(name, s, s + shift, 1e9 + s) for s in steps])


def read(database: Database, segment: str, name: str = "loss") -> Series:
    with database.read() as connection:
        return metrics.read(connection, [segment], name)[segment]


def test_a_full_block_is_sealed_and_its_rows_are_gone(database: Database, segment: str) -> None:
    add(database, segment, range(2 * metrics.BLOCK + 10))
    with database.read() as connection:
        rows = connection.execute(select(func.count()).select_from(metric_points)).scalar_one()
        blocks = connection.execute(select(metric_blocks)).all()
    assert rows == 10
    assert [(b.first_step, b.last_step, b.count) for b in blocks] == [
        (0, 1023, 1024),
        (1024, 2047, 1024),
    ]
    assert [(b.minimum, b.maximum, b.last) for b in blocks] == [(0, 1023, 1023), (1024, 2047, 2047)]


def test_blocks_and_tail_are_read_as_one_series(database: Database, segment: str) -> None:
    for start in range(0, 3000, 700):
        add(database, segment, range(start, min(start + 700, 3000)))
    found = read(database, segment)
    assert np.array_equal(found.steps, np.arange(3000))
    assert np.array_equal(found.values, np.arange(3000.0))
    assert np.array_equal(found.times, 1e9 + np.arange(3000.0))


@pytest.mark.parametrize("count", [10, 3000])
def test_a_step_logged_again_keeps_the_later_value(
    database: Database, segment: str, count: int
) -> None:
    add(database, segment, range(count))
    add(database, segment, range(5, 8), shift=0.5)
    found = read(database, segment)
    assert np.array_equal(found.steps, np.arange(count))
    assert found.values[4:9].tolist() == [4, 5.5, 6.5, 7.5, 8]


def test_a_whole_block_logged_again_loses_no_other_point(database: Database, segment: str) -> None:
    add(database, segment, range(1024))
    add(database, segment, range(0, 4096, 2), shift=0.5)
    found = read(database, segment)
    assert np.array_equal(found.steps[:1024], np.arange(1024))
    assert found.values[:4].tolist() == [0.5, 1, 2.5, 3]


def test_nan_and_infinity_are_kept_in_rows_and_in_blocks(database: Database, segment: str) -> None:
    odd = [math.nan, math.inf, -math.inf]
    points = [("loss", s, odd[s % 3] if s < 3 or s > 1100 else 1.0, 0.0) for s in range(1104)]
    with database.transaction() as connection:
        metrics.append(connection, segment, points)
    found = read(database, segment)
    for place in (0, 1101):
        assert np.isnan(found.values[place])
    assert found.values[1] == math.inf and found.values[2] == -math.inf
    assert found.values[1102] == math.inf and found.values[1103] == -math.inf


def test_the_newest_value_of_every_metric_is_found(database: Database, segment: str) -> None:
    add(database, segment, range(1024))
    add(database, segment, range(10), "eval_loss")
    with database.transaction() as connection:
        metrics.append(connection, segment, [("bad", 1, math.nan, 0.0)])
    with database.read() as connection:
        found = metrics.last_values(connection, [segment])[segment]
        names = metrics.names(connection, [segment])
    assert names == ["bad", "eval_loss", "loss"]
    assert found["loss"] == 1023 and found["eval_loss"] == 9 and math.isnan(found["bad"])


def test_a_writer_that_remembers_seals_like_one_that_asks(database: Database, segment: str) -> None:
    known = metrics.Known()
    for start in range(0, 2500, 100):
        steps = range(max(0, start - 30), start + 100)
        with database.transaction() as connection:
            points = [("loss", s, s + 0.5, 0.0) for s in steps]
            metrics.append(connection, segment, points, known)
    with database.read() as connection:
        assert len(connection.execute(select(metric_blocks)).all()) == 2
    found = read(database, segment)
    assert np.array_equal(found.steps, np.arange(2500))
    assert np.array_equal(found.values, np.arange(2500) + 0.5)


def test_no_points_are_no_series(database: Database, segment: str) -> None:
    with database.transaction() as connection:
        metrics.append(connection, segment, [])
    with database.read() as connection:
        assert metrics.read(connection, [segment], "loss") == {}


def test_a_series_is_cut_after_one_step_and_at_another() -> None:
    steps = np.arange(10)
    series = Series(steps, steps.astype(float), steps.astype(float))
    assert series.cut(3, 6).steps.tolist() == [4, 5, 6]
    assert series.cut(-1, None).steps.tolist() == list(range(10))
    assert series.cut(9, None).steps.size == 0

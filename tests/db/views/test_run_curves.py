"""A metric's course in few numbers keeps what a small curve must show."""

from __future__ import annotations

import math

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.views import run_curves
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


def test_extents_keep_the_extremes_and_the_last_value(database: Database, main: Line) -> None:
    values = [1.0] * 3000
    values[500], values[2900], values[-1] = 9.0, -9.0, 0.5
    main.log("loss", range(41, 3041), values)
    with database.read() as connection:
        extents = run_curves.series_extents(connection, [main.segment.id], "loss")[main.segment.id]
    sealed = [extent for extent in extents if extent.is_sealed]
    assert [extent.first_step for extent in extents] == sorted(
        extent.first_step for extent in extents
    )
    assert max(extent.maximum or 0 for extent in extents) == 9.0
    assert min(extent.minimum or 0 for extent in extents) == -9.0
    assert extents[-1].last == 0.5
    points = [extent.points.steps.size for extent in sealed if extent.points is not None]
    assert points == [1024, 1024]
    assert sum(not extent.is_sealed for extent in extents) == 30


def test_of_a_long_series_only_the_extremes_are_read(database: Database, main: Line) -> None:
    main.log("loss", range(41, 6041), [1.0] * 6000)
    with database.read() as connection:
        extents = run_curves.series_extents(connection, [main.segment.id], "loss")[main.segment.id]
    assert {extent.points for extent in extents if extent.is_sealed} == {None}


def test_a_last_value_that_is_no_number_is_none(database: Database, main: Line) -> None:
    main.log("loss", [41], [math.nan])
    with database.read() as connection:
        extents = run_curves.series_extents(connection, [main.segment.id, "x"], "loss")
    assert extents.keys() == {main.segment.id}
    assert extents[main.segment.id][-1].last is None

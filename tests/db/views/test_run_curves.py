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
        sealed = [extent.block for extent in extents if extent.block]
        points = run_curves.points_of(connection, sealed)
    assert [extent.first_step for extent in extents] == sorted(
        extent.first_step for extent in extents
    )
    assert max(extent.maximum or 0 for extent in extents) == 9.0
    assert min(extent.minimum or 0 for extent in extents) == -9.0
    assert extents[-1].last == 0.5
    assert sum(series.steps.size for series in points.values()) == 1024 * len(sealed)
    assert sum(extent.block is None for extent in extents) == 30


def test_a_last_value_that_is_no_number_is_none(database: Database, main: Line) -> None:
    main.log("loss", [41], [math.nan])
    with database.read() as connection:
        extents = run_curves.series_extents(connection, [main.segment.id, "x"], "loss")
    assert extents.keys() == {main.segment.id}
    assert extents[main.segment.id][-1].last is None

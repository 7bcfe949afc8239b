"""The metrics of many segments, and no more of their curves than a chart shows."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.views import chart_series
from tests.web import seeds
from tests.web.seeds import Line


@pytest.fixture
def bare(database: Database, store: Store) -> Line:
    """A branch with a root and without points."""
    line = seeds.Grower(database, store, "digits").line("main", 100)
    line.commit("root", 0)
    return line


@pytest.fixture
def main(bare: Line) -> Line:
    """A branch of 40 steps."""
    bare.log("loss", range(1, 41), [4.0 - step / 20 for step in range(1, 41)])
    return bare


def test_series_are_read_across_blocks_and_tail(database: Database, main: Line) -> None:
    main.log("loss", range(41, 2101), np.linspace(3, 1, 2060))
    main.log("lr", [10, 20], [0.1, 0.2])
    with database.read() as connection:
        ids = [main.segment.id]
        metrics = chart_series.list_metrics(connection, ids)
        series = chart_series.read_series(connection, ids, ["loss", "lr"])
        missing = chart_series.list_metrics(connection, ids, "nope")
        assert chart_series.read_series(connection, ids, ["nope"]) == {}
    assert (metrics.chosen, metrics.names) == ("loss", ("loss", "lr"))
    assert series["loss"][main.segment.id].steps.tolist() == list(range(1, 2101))
    assert series["lr"][main.segment.id].values.tolist() == [0.1, 0.2]
    assert (missing.chosen, missing.names) == ("nope", ("loss", "lr"))


def test_without_metrics_there_is_nothing_to_choose(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "bare").line("main")
    with database.read() as connection:
        metrics = chart_series.list_metrics(connection, [line.segment.id])
        assert chart_series.list_metrics(connection, []).chosen is None
    assert (metrics.chosen, metrics.names, metrics.total) == (None, (), 0)


def test_the_likeliest_loss_is_chosen(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "other").line("main")
    line.log("stall/copy_ms", [0], [1.0])
    with database.read() as connection:
        of_product = chart_series.list_metrics(connection, [line.segment.id])
    assert (of_product.chosen, of_product.names) == (None, ("stall/copy_ms",))
    for name in ("accuracy", "valid/loss", "train_loss"):
        line.log(name, [1], [1.0])
    with database.read() as connection:
        assert chart_series.list_metrics(connection, [line.segment.id]).chosen == "train_loss"


def test_new_points_are_those_after_a_step_wherever_they_lie(
    database: Database, main: Line
) -> None:
    main.log("loss", range(41, 1501), [1.0] * 1460)
    with database.read() as connection:
        points = chart_series.points_after(connection, {main.segment.id: 1000, "x": 0}, "loss")
        assert chart_series.points_after(connection, {}, "loss") == {}
        assert chart_series.points_after(connection, {main.segment.id: 1500}, "loss") == {}
    assert points[main.segment.id].steps.tolist() == list(range(1001, 1501))


def test_of_a_window_its_blocks_are_read_and_what_smoothing_reaches_back_to(
    database: Database, bare: Line
) -> None:
    ids = [bare.segment.id]
    values = np.random.default_rng(0).normal(size=8000)
    bare.log("loss", range(1, 8001), values)
    with database.read() as connection:
        window = chart_series.read_series(
            connection, ids, ["loss"], lows={ids[0]: 5000}, highs={ids[0]: 5100}
        )["loss"][ids[0]]
        late = chart_series.read_series(connection, ids, ["loss"], lows={ids[0]: 7990})["loss"]
    assert (window.steps[0], window.steps[-1]) == (2049, 5120)
    assert window.values.tolist() == values[2048:5120].tolist()
    assert late[ids[0]].steps[-1] == 8000 and late[ids[0]].steps[0] > 4000


def test_of_each_segment_what_lies_beyond_its_high_is_not_read(
    database: Database, bare: Line
) -> None:
    assert bare.head is not None
    side = bare.grower.fork(bare.head, "side", lr=1e-4)
    for line in (bare, side):
        line.log("loss", range(1, 3001), np.arange(3000))
    ids = [bare.segment.id, side.segment.id]
    with database.read() as connection:
        series = chart_series.read_series(
            connection, ids, ["loss"], highs={ids[0]: 40, ids[1]: None}
        )["loss"]
    assert series[ids[0]].steps.tolist() == list(range(1, 1025))
    assert series[ids[1]].steps.tolist() == list(range(1, 3001))


def test_without_times_the_points_are_the_same(database: Database, bare: Line) -> None:
    bare.log("loss", range(1, 1101), np.arange(1100))
    ids = [bare.segment.id]
    with database.read() as connection:
        whole = chart_series.read_series(connection, ids, ["loss"])["loss"][ids[0]]
        bare = chart_series.read_series(connection, ids, ["loss"], timed=False)["loss"][ids[0]]
    assert bare.steps.tolist() == whole.steps.tolist()
    assert bare.values.tolist() == whole.values.tolist()
    assert np.isnan(bare.times[:1024]).all() and np.isfinite(whole.times).all()

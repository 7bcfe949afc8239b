"""The two charts of a comparison: both curves with their shared trunk, and their difference."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.web.charts import comparison as charts_comparison
from branchtrack.web.charts.chart import Chart
from branchtrack.web.view import comparison
from branchtrack.web.view.comparison import Comparison
from tests.web import seeds
from tests.web.conftest import Site
from tests.web.seeds import Line

Window = tuple[int | None, int | None]


@pytest.fixture
def pair(empty: Site) -> tuple[Line, Line]:
    """A trunk of 100 steps and a fork of it, neither with points of its own yet."""
    main = seeds.Grower(empty.database, empty.store, "pair").line("main")
    main.log("loss", range(1, 101), np.full(100, 3.0))
    node = main.commit("checkpoint", 100, loss=3.0)
    return main, main.grower.fork(node, "side", lr=1e-4)


def compared(site: Site) -> Comparison:
    with site.app.test_request_context(), site.database.read() as connection:
        return comparison.read(connection, "pair/main", "pair/side", None)


def charts(site: Site, axis: str = "step", window: Window = (None, None)) -> tuple[Chart, Chart]:
    return charts_comparison.build_charts(compared(site), axis, False, 0.0, window)


def test_without_points_since_the_fork_only_the_trunk_is_drawn(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    both = compared(empty)
    upper, lower = charts_comparison.build_charts(both, "step", False, 0.6, (None, None))
    assert [line.name for line in upper.lines] == ["shared", "main", "side"]
    assert [line.xs for line in upper.lines[1:]] == [[100], [100]]
    assert lower.lines[0].xs == []
    assert both.facts().step is None


def test_the_difference_is_drawn_on_the_axis_of_the_curves(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    pair[0].log("loss", range(101, 111), [3.0] * 10)
    pair[1].log("loss", range(101, 111), [1.0] * 10)
    upper, lower = charts(empty)
    assert [line.name for line in upper.lines] == ["shared", "main", "side"]
    assert (lower.x_low, lower.x_high) == (upper.x_low, upper.x_high) == (0.0, 110.0)
    assert lower.lines[0].name == "side − main"
    assert "side lower since step 101" in lower.label


def test_steps_since_the_fork_begin_where_the_two_part(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    for line in pair:
        line.log("loss", range(101, 111), [3.0] * 10)
    upper, _lower = charts(empty, "since")
    assert upper.lines[1].xs[-1] == 10


def test_a_side_without_the_counter_is_named_and_not_drawn(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    for line in pair:
        line.log("loss", range(101, 111), [3.0] * 10)
    pair[0].log("tokens", range(100, 111), 512.0 * np.arange(100, 111))
    pair[1].log("tokens", range(101, 103), [np.nan] * 2)
    with empty.app.test_request_context(), empty.database.read() as connection:
        both = comparison.read(connection, "pair/main", "pair/side", None, counter="tokens")
    upper, lower = charts_comparison.build_charts(both, "tokens", False, 0.0, (None, None), [105])
    assert [line.name for line in upper.lines] == ["shared", "main"]
    assert upper.lines[0].xs == [51200] and min(upper.lines[1].xs) == 51200
    assert upper.note == "Not drawn, without tokens: side"
    assert lower.lines[0].xs == [] and upper.fork == 51200 and upper.guides == (53760,)


def test_a_window_leaves_out_what_is_not_in_it(empty: Site, pair: tuple[Line, Line]) -> None:
    for line in pair:
        line.log("loss", range(101, 111), [3.0] * 10)
    upper, _lower = charts(empty, window=(105, 108))
    assert {step for line in upper.lines for step in line.xs} <= set(range(104, 110))

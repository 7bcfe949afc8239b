"""Two branches against each other, from values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from branchtrack.web.charts import comparison as charts_comparison
from branchtrack.web.svg.marks import colour_and_dash
from branchtrack.web.view import comparison
from branchtrack.web.view.comparison import Comparison, Side
from tests.web import seeds
from tests.web.conftest import Site
from tests.web.seeds import Line


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


def log(line: Line, values: Any) -> None:
    line.log("loss", range(101, 101 + len(values)), values)


def test_the_side_that_ends_lower_is_named_with_the_step_since_which(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    log(pair[0], [3.0] * 50)
    log(pair[1], [3.5] * 20 + [2.5] * 30)
    facts = compared(empty).facts()
    assert (facts.step, facts.a, facts.b) == (150, 3.0, 2.5)
    assert (facts.lower, facts.lower_since) == ("side", 121)


def test_noise_does_not_reset_since_when(empty: Site, pair: tuple[Line, Line]) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 400)
    log(pair[0], 3.0 + noise)
    log(pair[1], 2.6 - noise)
    facts = compared(empty).facts()
    assert facts.lower == "side"
    assert facts.lower_since is not None and facts.lower_since < 120


def test_a_last_value_that_is_no_number_names_nobody(empty: Site, pair: tuple[Line, Line]) -> None:
    log(pair[0], [3.0, 3.0])
    log(pair[1], [2.0, math.nan])
    facts = compared(empty).facts()
    assert facts.lower is None and facts.step == 102


def test_equal_branches_have_no_lower_one(empty: Site, pair: tuple[Line, Line]) -> None:
    log(pair[0], [3.0, 3.0])
    log(pair[1], [3.0, 3.0])
    both_sides = compared(empty)
    assert both_sides.facts().lower is None
    _, lower = charts_comparison.build_charts(both_sides, "step", False, 0.0, (None, None))
    assert "neither stays lower" in lower.label


def test_only_steps_of_both_count(empty: Site, pair: tuple[Line, Line]) -> None:
    pair[0].log("loss", range(101, 131, 2), [3.0] * 15)
    pair[1].log("loss", range(101, 131, 3), [2.0] * 10)
    steps = [step for step, _, _ in compared(empty).common("loss")]
    assert steps == [101, 107, 113, 119, 125]


def test_a_long_run_is_compared_at_enough_points_to_see_the_change(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    log(pair[0], np.full(30_000, 3.0))
    log(pair[1], np.concatenate([np.full(10_000, 3.2), np.full(20_000, 2.8)]))
    facts = compared(empty).facts()
    assert facts.lower == "side"
    assert facts.lower_since == pytest.approx(10_100, abs=100)


def test_two_branches_share_neither_colour_nor_dash(empty: Site, pair: tuple[Line, Line]) -> None:
    both_sides = compared(empty)

    def styled(side: Side, position: int) -> Side:
        branch = replace(side.view.branch, position=position)
        return replace(side, view=replace(side.view, branch=branch))

    for first in range(16):
        for second in set(range(16)) - {first}:
            both = replace(
                both_sides, a=styled(both_sides.a, first), b=styled(both_sides.b, second)
            )
            looks = [colour_and_dash(both.style(side)) for side in (both.a, both.b)]
            assert all(one != other for one, other in zip(*looks, strict=True)), (first, second)


def test_long_curves_are_compared_at_points_that_were_logged(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    noise = np.random.default_rng(3)
    logged = {}
    for line, level in zip(pair, (3.0, 2.5), strict=True):
        values = level + noise.normal(0, 0.3, 30_000)
        logged[line.branch.name] = values
        log(line, values)
        line.beat()
    both = compared(empty)
    assert not both.curve(both.a, "loss").are_points
    rows = both.common("loss")
    assert len(rows) >= 11 and (rows[0][0], rows[-1][0]) == (101, 30_100)
    for step, a, b in rows:
        assert (a, b) == (logged["main"][step - 101], logged["side"][step - 101])
    # As far from each other as they can be.
    assert np.diff([step for step, _a, _b in rows]).max() < 30_000 / 11 + 1100
    facts = both.facts()
    assert (facts.step, facts.lower) == (30_100, "side")
    assert facts.lower_since is not None and facts.lower_since < 101 + 3 * 30_000 / 300
    _, lower = charts_comparison.build_charts(both, "step", False, 0.0, (None, None))
    means = [value for value in lower.lines[0].smooth if value is not None]
    assert np.mean(means) == pytest.approx(-0.5, abs=0.02)


def test_in_a_short_window_of_long_curves_all_points_are_compared(
    empty: Site, pair: tuple[Line, Line]
) -> None:
    for line in pair:
        log(line, np.arange(30_000) % 7)
    with empty.app.test_request_context(), empty.database.read() as connection:
        window = (20_000, 20_100)
        both = comparison.read(connection, "pair/main", "pair/side", None, window=window)
    upper, lower = charts_comparison.build_charts(both, "step", False, 0.0, window)
    assert all(line.xs == list(range(20_000, 20_101)) for line in (*upper.lines, *lower.lines))

"""What a chart shows, from series alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.metrics import Series
from branchtrack.web.charts import axes, chart


def series(values: list[float], first: int = 1) -> Series:
    steps = np.arange(first, first + len(values), dtype=np.int64)
    return Series(steps, np.array(values, np.float64), steps * 0.5)


def line(found: Series, **options: object) -> chart.Line:
    common: dict[str, object] = {
        "name": "a",
        "style": 0,
        "weight": 0.0,
        "limit": 100,
        "to_x": axes.to_steps,
    }
    return chart.line(found, **{**common, **options})


def test_a_fork_begins_where_its_parent_was() -> None:
    found = line(series([5, 4, 3, 2, 1]), after=3)
    assert (found.xs, found.raw) == ([3, 4, 5], [3, 2, 1])


def test_a_fork_between_two_points_begins_at_the_one_before() -> None:
    sparse = Series(np.array([10, 20, 30]), np.array([3.0, 2.0, 1.0]), np.zeros(3))
    assert line(sparse, after=25).xs == [20, 30]


def test_a_window_cuts_both_ends_and_smoothing_still_knows_what_was_before() -> None:
    whole = series([8.0] * 50 + [0.0] * 50)
    part = line(whole, weight=0.9, window=(51, 60))
    assert part.xs == list(range(51, 61))
    assert part.smooth[0] is not None and 7 < part.smooth[0] < 8


def test_a_spike_is_never_lost() -> None:
    values = [1.0] * 10_000
    values[6_543] = 50.0
    found = line(series(values), limit=60)
    assert len(found.xs) <= 62
    assert 50.0 in found.high


def test_each_run_of_values_that_are_not_numbers_is_marked_once_in_its_middle() -> None:
    values = [1.0, math.nan, math.nan, math.nan, 1.0, math.inf, 1.0]
    found = line(series(values))
    assert found.gaps == [3, 6]
    assert found.low.count(None) == found.smooth.count(None) == 4


def test_changes_are_marked_on_the_curve_and_not_outside_of_it() -> None:
    found = line(series([5, 4, 3, 2, 1]), changes=[(2, "lr"), (9, "later")])
    assert found.marks == [(2, 4.0, "lr")]


def counting(first: int, last: int) -> axes.ToX:
    steps = np.arange(first, last + 1)
    return axes.counted(Buckets.of_points(steps, steps * 10.0, np.zeros(steps.size)))


def test_what_a_counter_does_not_cover_is_not_drawn() -> None:
    changes = [(1, "before"), (3, "inside")]
    values = [5.0, math.nan, 3.0, 2.0, math.nan]
    part = line(series(values), to_x=counting(2, 4), changes=changes)
    assert (part.steps, part.xs, part.raw) == ([2, 3, 4], [20, 30, 40], [None, 3.0, 2.0])
    assert part.marks == [(30, 3.0, "inside")] and part.gaps == [20]
    lone = line(series([5, 4, 3]), to_x=counting(2, 2))
    assert lone.xs == [20] and not lone.is_off_axis


def test_lines_off_an_axis_are_named_and_a_chart_of_none_is_one_too() -> None:
    off = [line(series([2, 1]), to_x=counting(50, 60), name=name) for name in "abcdef"]
    # The point of its parent alone is no curve of a branch.
    off.append(line(series([5, 4, 3]), to_x=counting(1, 2), after=2, name="g"))
    assert all(each.is_off_axis and each.xs == each.marks == [] for each in off)
    waiting = line(series([5, 4]), to_x=counting(1, 2), after=2)
    lines, note = chart.on_axis([*off, waiting, line(series([]))], "tokens")
    assert lines == [waiting]
    assert note == "Not drawn, without tokens: a, b, c, d and 3 more"
    drawn = chart.chart([], metric_name="m", x_name="t", log=True, weight=0, note=note)
    assert drawn.note.startswith(note) and note in drawn.label
    assert drawn.x_low < drawn.x_high


def test_ranges_hold_every_point() -> None:
    drawn = chart.chart(
        [line(series([1, 9, 2]))], metric_name="loss", x_name="step", log=False, weight=0
    )
    assert (drawn.x_low, drawn.x_high) == (1, 3)
    assert drawn.y_low < 1 and drawn.y_high > 9


def test_a_logarithmic_range_leaves_out_what_is_not_positive() -> None:
    drawn = chart.chart(
        [line(series([0.0, -1.0, 0.01, 100.0]))], metric_name="m", x_name="step", log=True, weight=0
    )
    assert 0 < drawn.y_low <= 0.01 and drawn.y_high >= 100


def test_a_value_next_to_nothing_beside_another_is_above_0() -> None:
    curve = line(series([1e-12, 10.0]))
    drawn = chart.chart([curve], metric_name="m", x_name="step", log=True, weight=0)
    assert drawn.lines[0].low == [1e-12, 10.0] and not drawn.note


def test_without_a_value_above_0_a_scale_is_linear_and_the_chart_says_so() -> None:
    values = line(series([0.0, -1.0]))
    drawn = chart.chart([values], metric_name="m", x_name="step", log=True, weight=0)
    assert not drawn.log and drawn.y_low < -1
    assert drawn.as_json()["note"] == "No value above 0: linear scale"


@pytest.mark.parametrize("values", [[], [2.0], [2.0, 2.0], [math.nan]])
def test_little_or_nothing_is_a_chart_too(values: list[float]) -> None:
    for log in (False, True):
        drawn = chart.chart(
            [line(series(values))], metric_name="m", x_name="step", log=log, weight=0.6
        )
        assert drawn.x_low < drawn.x_high and drawn.y_low < drawn.y_high
        assert all(math.isfinite(one) for one in drawn.as_json()["range"])


def test_smoothing_goes_on_from_the_parent_and_is_not_drawn_to_its_first_value() -> None:
    whole = series([5, 4, 3, 2, 1])
    parent, fork = line(whole, weight=0.6), line(whole, weight=0.6, after=3)
    assert fork.smooth == parent.smooth[2:]
    # The mean of the first two, weighted 0.6 to 1; a biased one would be at 4.6.
    assert parent.smooth[1] == pytest.approx((0.6 * 5 + 4) / 1.6, abs=1e-4)
    assert fork.norm == pytest.approx(1 - 0.6**5)
    assert line(series([]), weight=0.6).norm == 0


def test_the_label_says_where_each_branch_ends() -> None:
    drawn = chart.chart(
        [line(series([5, 4, 3]))], metric_name="loss", x_name="step", log=False, weight=0
    )
    assert drawn.label == "loss over training: a 3.000 at step 3"


def test_rows_are_sampled_over_all_branches() -> None:
    a, b = line(series([5.0] * 100)), line(series([1.0] * 50, first=101))
    rows = chart.sampled([a, b], rows=10)
    assert len(rows) == 10
    assert rows[0] == (1, [5.0, None]) and rows[-1] == (150, [None, 1.0])
    assert chart.sampled([]) == []

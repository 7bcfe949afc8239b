"""Many curves as one: mean and extremes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.analysis.comparison import bands
from branchtrack.db.browsing.buckets import Buckets


def curve(values: list[float], first: int = 1) -> Buckets:
    steps = np.arange(first, first + len(values))
    return Buckets.of_points(steps, np.array(values, np.float64), 1e9 + steps)


def test_a_short_band_has_every_step() -> None:
    band = bands.band([curve([1.0, 2.0, math.nan]), curve([3.0, math.nan, math.nan, 7.0])])
    assert band.steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(band.last, [2.0, 2.0, math.nan, 7.0])
    np.testing.assert_array_equal(band.low, [1.0, 2.0, math.nan, 7.0])
    np.testing.assert_array_equal(band.high, [3.0, 2.0, math.nan, 7.0])
    assert band.times.tolist() == [1e9 + step for step in (1, 2, 3, 4)]


def test_of_no_curves_there_is_no_band() -> None:
    assert bands.band([]).steps.size == bands.band([Buckets.empty()]).steps.size == 0


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=900), min_size=1, max_size=4))
def test_extremes_are_never_lost_and_hold_the_mean(members: list[list[float]]) -> None:
    band = bands.band([curve(values) for values in members])
    every = [value for values in members for value in values]
    assert band.low.min() == min(every) and band.high.max() == max(every)
    assert bool(np.all(np.diff(band.steps) > 0)) and band.steps.size <= 600
    assert bool(np.all(band.low <= band.last + 1e-9) and np.all(band.last <= band.high + 1e-9))


def test_a_range_says_what_values_there_are() -> None:
    assert bands.span_of([1e-3, 0.1, 0.01]) == "1e-3 to 0.1"
    assert bands.span_of(["a", "b", "a"]) == "2 values"
    assert bands.span_of([True, 1]) == "2 values"

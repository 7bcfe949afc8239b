"""Buckets keep every extreme, every gap and the averages, however many points are in each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.analysis.downsample import smooth_at
from branchtrack.db.browsing.buckets import WEIGHTS, Buckets
from branchtrack.db.metrics import Series

_VALUES = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]), st.just(1.0)),
    min_size=1,
    max_size=400,
)


def series(values: list[float]) -> Series:
    """Points at steps two apart."""
    steps = 2 * np.arange(len(values), dtype=np.int64) + 1
    return Series(steps, np.array(values, np.float64), 1e9 + steps)


def points(logged: Series) -> Buckets:
    return Buckets.of_points(logged.steps, logged.values, logged.times)


def grouped(logged: Series, size: int) -> Buckets:
    return Buckets.grouped(logged.steps, logged.values, logged.times, size)


def assert_equal(one: Buckets, other: Buckets) -> None:
    """Both hold the same, but for rounding in the averages."""
    for name in vars(one):
        if name == "carries":
            np.testing.assert_allclose(one.carries, other.carries, rtol=1e-9, atol=1e-9)
        elif name != "gaps":
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in vars(one.gaps):
        np.testing.assert_array_equal(getattr(one.gaps, name), getattr(other.gaps, name), name)


@given(_VALUES, st.integers(1, 100), st.sampled_from(WEIGHTS))
def test_averages_at_the_ends_of_buckets_are_those_of_all_points(
    values: list[float], size: int, weight: float
) -> None:
    logged, buckets = series(values), grouped(series(values), size)
    smooth = buckets.smooth(weight)
    finite = np.flatnonzero(np.isfinite(logged.values))
    for end, value, count in zip(buckets.steps, smooth, buckets.count, strict=True):
        if not count:
            assert math.isnan(value)
            continue
        newest = logged.steps[finite[logged.steps[finite] <= end][-1:]]
        expected = smooth_at(logged, weight, newest)[0]
        assert value == pytest.approx(
            expected, rel=1e-4, abs=5e-5 * np.nanmax(np.abs(values_of(logged)))
        )


def values_of(logged: Series) -> np.ndarray:
    finite = logged.values[np.isfinite(logged.values)]
    return finite if finite.size else np.zeros(1)


@given(_VALUES, st.integers(1, 100), st.integers(1, 50))
def test_no_extreme_and_no_gap_is_lost(values: list[float], size: int, limit: int) -> None:
    logged = series(values)
    buckets = grouped(logged, size).merged(limit)
    assert buckets.steps.size <= max(limit, 1)
    assert int(buckets.count.sum() + buckets.broken.sum()) == len(values)
    finite = np.isfinite(logged.values)
    np.testing.assert_array_equal(buckets.gaps.steps, logged.steps[~finite])
    for place in range(buckets.steps.size):
        inside = finite & (logged.steps >= buckets.first[place])
        inside &= logged.steps <= buckets.steps[place]
        assert int(buckets.count[place]) == int(inside.sum())
        if not inside.any():
            assert math.isnan(buckets.low[place]) and math.isnan(buckets.high[place])
            continue
        held = logged.values[inside]
        assert (buckets.low[place], buckets.high[place]) == (held.min(), held.max())
        at = {int(step): value for step, value in zip(logged.steps, logged.values, strict=True)}
        assert at[int(buckets.low_step[place])] == held.min()
        assert at[int(buckets.high_step[place])] == held.max()
        assert buckets.low_time[place] == 1e9 + buckets.low_step[place]


@given(_VALUES, st.integers(1, 60), st.data())
def test_parts_of_a_curve_are_joined_to_the_whole(
    values: list[float], size: int, data: st.DataObject
) -> None:
    whole = grouped(series(values), size)
    cut = int(whole.steps[data.draw(st.integers(0, whole.steps.size - 1))])
    assert_equal(Buckets.join([whole.cut(-1, cut), whole.cut(cut, None)]), whole)
    assert_equal(points(series(values)).reduced(np.arange(0, len(values), size)), whole)


@given(_VALUES, st.integers(2, 20), st.integers(2, 20))
def test_buckets_of_buckets_are_those_of_the_points(
    values: list[float], size: int, more: int
) -> None:
    small = grouped(series(values), size)
    assert_equal(
        small.reduced(np.arange(0, small.steps.size, more)), grouped(series(values), size * more)
    )


def test_points_are_buckets_of_themselves() -> None:
    logged = series([1.0, math.nan, math.inf, 4.0])
    buckets = points(logged)
    assert buckets.are_points and not grouped(logged, 2).are_points
    np.testing.assert_array_equal(buckets.values(), logged.values)
    np.testing.assert_array_equal(buckets.smooth(0), [1.0, math.nan, math.nan, 4.0])
    assert buckets.gaps.follows.tolist() == [False, True]


def test_a_weight_that_is_not_offered_is_refused() -> None:
    with pytest.raises(ValueError):
        points(series([1.0])).smooth(0.5)


def test_nothing_has_no_buckets() -> None:
    nothing = Buckets.empty()
    assert nothing.merged(5).steps.size == Buckets.join([]).steps.size == 0
    assert nothing.smooth(0.9).size == 0 and nothing.cut(0, 9).steps.size == 0


def test_buckets_of_a_mask_keep_all_gaps() -> None:
    whole = Buckets.of_points(np.arange(4), np.array([1.0, np.nan, 3.0, 4.0]), np.zeros(4))
    part = whole.where(np.array([False, False, True, True]))
    assert part.steps.tolist() == [2, 3] and part.carries.shape[1] == 2
    assert part.gaps.steps.tolist() == [1]
    assert whole.where(np.ones(4, np.bool_)) is whole

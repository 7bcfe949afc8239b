"""Fewer points, no spike lost, gaps kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.analysis.downsample import downsample, gaps, smooth_at
from branchtrack.db.metrics import Series


def series(values: list[float] | np.ndarray) -> Series:
    found = np.asarray(values, np.float64)
    return Series(np.arange(found.size), found, np.zeros(found.size))


@given(st.integers(0, 99_999), st.sampled_from([1e9, -1e9]), st.integers(10, 2000))
def test_a_spike_is_never_lost(place: int, height: float, points: int) -> None:
    values = np.sin(np.arange(100_000) / 50)
    values[place] = height
    found = downsample(series(values), points)
    assert height in found.values
    assert found.steps.size <= points + 2


def test_two_spikes_in_one_bucket_are_both_kept() -> None:
    values = np.zeros(10_000)
    values[5001], values[5002] = 7, -7
    found = downsample(series(values), 20)
    assert {7.0, -7.0} <= set(found.values.tolist())


def test_few_points_stay_as_they_are() -> None:
    found = downsample(series([3.0, 1.0, 2.0]), 1000)
    assert found.values.tolist() == [3, 1, 2]


def test_the_ends_are_kept_and_steps_rise() -> None:
    found = downsample(series(np.arange(12_345.0)), 100)
    assert found.steps[0] == 0 and found.steps[-1] == 12_344
    assert np.all(np.diff(found.steps) > 0)


def test_nan_and_infinity_become_one_gap_for_each_run_of_them() -> None:
    odd = series([1, np.nan, np.inf, 2, -np.inf, 3])
    found = downsample(odd, 100)
    assert found.steps.tolist() == [0, 1, 3, 4, 5]
    assert np.isnan(found.values[1]) and found.values[3] == -np.inf
    assert gaps(odd) == [1, 2, 4]


def test_nothing_but_gaps_is_drawn_as_one() -> None:
    assert downsample(series([np.nan] * 5), 10).steps.tolist() == [0]
    assert downsample(series([]), 10).steps.size == 0


def test_smoothing_starts_at_the_first_value_and_passes_over_gaps() -> None:
    smoothed = smooth_at(series([4.0, np.nan, 4.0, 0.0]), 0.5, np.arange(4))
    assert smoothed[0] == 4 and np.isnan(smoothed[1]) and smoothed[2] == 4
    assert 0 < smoothed[3] < 4
    assert smooth_at(series([1.0, 2.0]), 0.0, np.arange(2)).tolist() == [1, 2]

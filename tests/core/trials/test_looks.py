"""A trial is judged a few times, and all looks together err no more than they may."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from branchtrack.core.trials import looks


def test_a_trial_is_judged_after_half_three_quarters_and_all_of_its_repeats() -> None:
    assert looks.looks(8) == (4, 6, 8)
    assert looks.looks(60) == (30, 45, 60)


def test_no_look_is_at_fewer_than_three_pairs_unless_there_are_no_more() -> None:
    assert [looks.looks(n) for n in (1, 2, 3, 4, 5)] == [(1,), (2,), (3,), (3, 4), (3, 4, 5)]


def test_the_next_look_is_the_first_one_beyond_what_is_done() -> None:
    assert [looks.next_look((4, 6, 8), done) for done in (0, 4, 7, 8)] == [4, 6, 8, None]


def test_a_single_look_has_the_whole_error() -> None:
    assert looks.levels((3,), 0.05) == (0.05,)


def test_levels_are_the_same_each_time() -> None:
    first = looks.levels((4, 6, 8), 0.05)
    looks.levels.cache_clear()
    assert looks.levels((4, 6, 8), 0.05) == first


@pytest.mark.parametrize("repeats", [4, 5, 6, 8, 12, 30])
@pytest.mark.parametrize("error", [0.05, 0.0125])
def test_intervals_miss_no_effect_in_five_percent_of_all_trials_at_most(
    repeats: int, error: float
) -> None:
    """Simulated with other numbers than those by which the levels were chosen."""
    at = looks.looks(repeats)
    generator = np.random.default_rng(7)
    count = 200_000
    values = generator.standard_normal((count, repeats))
    missed = np.zeros(count, dtype=bool)
    for pairs, level in zip(at, looks.levels(at, error), strict=True):
        seen = values[:, :pairs]
        spread = seen.std(axis=1, ddof=1) / np.sqrt(pairs)
        missed |= np.abs(seen.mean(axis=1)) > stdtrit(pairs - 1, 1 - level / 2) * spread
    # Three standard errors of this simulation and of that of the levels.
    slack = 3 * np.sqrt(error * (1 - error) * (1 / count + 1 / 400_000))
    assert 0.9 * error < missed.mean() < 0.98 * error + slack


@pytest.mark.parametrize("shape", ["of skewed", "heavy"])
def test_differences_that_are_not_normal_err_hardly_more(shape: str) -> None:
    """Differences of skewed values, and of heavy tails."""
    at = looks.looks(8)
    generator = np.random.default_rng(11)
    count = 100_000
    if shape == "of skewed":
        values = generator.gamma(4.0, size=(count, 8)) - generator.gamma(4.0, size=(count, 8))
    else:
        values = generator.standard_t(4, size=(count, 8))
    missed = np.zeros(count, dtype=bool)
    for pairs, level in zip(at, looks.levels(at, 0.05), strict=True):
        seen = values[:, :pairs]
        spread = seen.std(axis=1, ddof=1) / np.sqrt(pairs)
        missed |= np.abs(seen.mean(axis=1)) > stdtrit(pairs - 1, 1 - level / 2) * spread
    assert missed.mean() < 0.055

"""Paired differences are judged by their interval: helps, hurts, no effect shown, inconclusive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from branchtrack.core.trials.judging import (
    HELPS,
    HURTS,
    INCONCLUSIVE,
    NONE,
    Difference,
    Verdict,
    judge,
)

CONTROL = 2.0


def pairs(*values: float | None, control: float | None = CONTROL) -> list[Difference]:
    return [
        Difference(control, None if value is None else (control or 0.0) + value) for value in values
    ]


def judged(values: Sequence[float | None], level: float = 0.05, **how: Any) -> Verdict:
    how = {"higher_is_better": False, "margin": 0.0, **how}
    return judge(pairs(*values), level, **how)


def test_the_interval_is_students_t_of_the_paired_differences() -> None:
    values = [-0.012, -0.009, -0.011, -0.006, -0.013]
    verdict = judged(values, 0.03)
    low, high = stats.t.interval(0.97, 4, np.mean(values), stats.sem(values))
    assert (verdict.low, verdict.high) == (pytest.approx(low), pytest.approx(high))
    assert verdict.effect == pytest.approx(np.mean(values))
    assert verdict.error == pytest.approx(stats.sem(values))


def test_a_lower_loss_helps_and_a_higher_one_hurts() -> None:
    assert judged([-0.012, -0.009, -0.011]).verdict == HELPS
    assert judged([0.012, 0.009, 0.011]).verdict == HURTS


def test_a_higher_accuracy_helps() -> None:
    assert judged([0.012, 0.009, 0.011], higher_is_better=True).verdict == HELPS
    assert judged([-0.012, -0.009, -0.011], higher_is_better=True).verdict == HURTS


def test_an_interval_within_the_margin_shows_no_effect_that_matters() -> None:
    assert judged([-0.0012, -0.0009, -0.0011], margin=0.01).verdict == NONE


def test_without_a_margin_a_thousandth_of_the_controls_does_not_matter() -> None:
    verdict = judged([-0.0003, 0.0002, 0.0001, 0.0], margin=None)
    assert (verdict.verdict, verdict.margin) == (NONE, pytest.approx(0.002))


def test_an_interval_that_holds_zero_is_inconclusive_and_says_how_many_more() -> None:
    verdict = judged([-0.02, 0.01, -0.015, 0.004, -0.012], margin=0.001)
    assert verdict.verdict == INCONCLUSIVE and not verdict.is_settled
    assert verdict.more is not None and 5 < verdict.more < 200


def test_so_many_more_repeats_would_indeed_settle_it() -> None:
    values = [-0.02, 0.01, -0.015, 0.004, -0.012]
    verdict = judged(values, margin=0.001)
    count = 5 + (verdict.more or 0)
    reach = stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count)
    before = stats.t.ppf(0.975, count - 2) * np.std(values, ddof=1) / math.sqrt(count - 1)
    assert reach <= abs(np.mean(values)) < before


def test_an_effect_of_exactly_nothing_with_spread_needs_more_than_can_be_said() -> None:
    assert judged([-1.0, 1.0, -1.0, 1.0]).more is None


def test_the_same_bits_on_both_sides_are_no_effect_however_few_pairs() -> None:
    same = [Difference(2.0, 2.0, same_bits=True)]
    verdict = judge(same, 0.05, higher_is_better=False)
    assert (verdict.verdict, verdict.effect, verdict.low) == (NONE, 0.0, 0.0)
    assert "same bits" in verdict.why


def test_equal_metrics_of_different_states_show_nothing_yet() -> None:
    # An accuracy on few samples may be the same by chance.
    verdict = judged([0.0, 0.0, 0.0, 0.0])
    assert verdict.verdict == INCONCLUSIVE and "all differences are the same" in verdict.why


def test_repeats_that_do_not_differ_have_no_interval() -> None:
    verdict = judged([-0.01, -0.01, -0.01])
    assert (verdict.verdict, verdict.low, verdict.high) == (INCONCLUSIVE, None, None)


def test_one_pair_has_an_effect_and_no_interval() -> None:
    verdict = judged([-0.01])
    assert (verdict.verdict, verdict.effect) == (INCONCLUSIVE, pytest.approx(-0.01))


def test_no_pair_at_all_is_inconclusive() -> None:
    assert judged([]).verdict == INCONCLUSIVE


def test_the_floor_makes_the_interval_wider() -> None:
    without, wide = judged([-0.012, -0.009, -0.011]), judged([-0.012, -0.009, -0.011], floor=0.02)
    assert without.verdict == HELPS and wide.verdict == INCONCLUSIVE
    assert wide.low == pytest.approx((without.low or 0) - 0.02)


def test_a_change_that_diverges_where_its_control_does_not_hurts() -> None:
    verdict = judged([None, None, None, 0.1])
    assert (verdict.verdict, verdict.diverged, verdict.effect) == (HURTS, 3, None)


def test_controls_that_diverge_where_the_change_does_not_help_it() -> None:
    rescued = [Difference(None, 2.0)] * 4
    assert judge(rescued, 0.05, higher_is_better=False).verdict == HELPS


def test_few_divergences_are_inconclusive() -> None:
    assert judged([None, None, 0.1, 0.1, 0.1]).verdict == INCONCLUSIVE


def test_pairs_in_which_both_diverge_are_counted_and_have_no_difference() -> None:
    both = [Difference(None, None), *pairs(-0.012, -0.009, -0.011)]
    verdict = judge(both, 0.05, higher_is_better=False, margin=0.0)
    assert (verdict.verdict, verdict.pairs) == (HELPS, 4)


def test_a_verdict_is_plain_values_and_comes_back_from_them() -> None:
    verdict = judged([-0.012, -0.009, -0.011])
    assert Verdict(**verdict.as_dict()) == verdict and verdict.words == "helps"


def test_two_pairs_are_too_few_for_a_verdict() -> None:
    verdict = judged([-0.012, -0.009])
    assert verdict.verdict == INCONCLUSIVE and verdict.low is None
    assert verdict.why == "a verdict needs 3 pairs or more"


@pytest.mark.parametrize("size", [1e300, 1e308])
def test_values_that_are_too_large_to_be_added_show_nothing(size: float) -> None:
    verdict = judged([-size, -0.9 * size, -1.1 * size], margin=None)
    assert verdict.verdict == INCONCLUSIVE and verdict.margin == 0.0
    assert (verdict.effect, verdict.low, verdict.high) == (None, None, None)


def test_pairs_that_diverged_on_both_sides_alone_say_so() -> None:
    verdict = judge([Difference(None, None)] * 3, 0.05, higher_is_better=False)
    assert (verdict.verdict, verdict.pairs) == (INCONCLUSIVE, 3)
    assert verdict.why == "every pair diverged on both sides"


def test_a_verdict_keeps_the_level_of_its_look() -> None:
    assert judged([-0.012, -0.009, -0.011], 0.0125).level == 0.0125

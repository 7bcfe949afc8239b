"""Trials of values that are already there end as trials do, and are compared with the truth."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.core.trials.judging import HELPS, HURTS, INCONCLUSIVE, NONE, Verdict
from tests.benchmarks.trial_tasks import End
from tests.benchmarks.trial_verdicts import (
    AGREES,
    CONTRADICTS,
    OPEN,
    UNKNOWN,
    Rate,
    Truth,
    agreement,
    conduct,
    is_false,
    runs_needed,
    truth_of,
)


def rows(*effects: float, noise: float = 0.01, pairs: int = 8) -> list[list[End]]:
    """Pairs whose changes have these effects, with noise of their own."""
    chance = np.random.default_rng(1)
    return [
        [
            End(1 + effect + noise * chance.standard_normal(), f"{n}-{side}")
            for side, effect in enumerate((0.0, *effects))
        ]
        for n in range(pairs)
    ]


def verdict(word: str, margin: float = 0.1) -> Verdict:
    return Verdict(word, 0.0, 0.0, 0.0, 0.0, margin, 0.0, 8)


def test_a_trial_ends_at_the_look_that_settles_it() -> None:
    (helps,) = conduct(rows(-0.5), ["a"])
    assert (helps.verdict, helps.pairs) == (HELPS, 4)


def test_a_change_that_is_settled_is_not_judged_again() -> None:
    hurts, still = conduct(rows(0.5, 0.0, noise=0.1), ["a", "b"], margin=0.0)
    assert (hurts.verdict, hurts.pairs) == (HURTS, 4)
    assert (still.verdict, still.pairs) == (INCONCLUSIVE, 8)


def test_a_side_that_diverged_counts_as_one() -> None:
    (hurts,) = conduct([[End(1.0 + n, f"a{n}"), End(None, f"b{n}")] for n in range(8)], ["a"])
    assert (hurts.verdict, hurts.diverged) == (HURTS, 4)


def test_a_verdict_on_nothing_is_false_if_it_has_a_direction() -> None:
    words = (HELPS, HURTS, NONE, INCONCLUSIVE)
    assert [is_false(verdict(word)) for word in words] == [True, True, False, False]


def test_normal_noise_gets_few_false_verdicts() -> None:
    chance = np.random.default_rng(3)
    trials = chance.standard_normal((1000, 8, 2))
    ended = ([[End(2 + a), End(2 + b)] for a, b in trial] for trial in trials)
    rate = Rate(sum(is_false(conduct(t, ["nothing"], margin=0.0)[0]) for t in ended), 1000)
    assert rate.interval[0] <= 0.05 and rate.share <= 0.065


def test_the_interval_of_a_rate_is_exact() -> None:
    assert Rate(10, 200).interval == pytest.approx((0.0242, 0.0900), abs=1e-4)
    assert Rate(0, 10).interval == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert Rate(10, 10).interval == pytest.approx((0.6915, 1.0), abs=1e-4)


def test_the_truth_is_the_mean_of_pairs_that_have_both_values() -> None:
    truth = truth_of([1.0, 2.0, 3.0, 4.0], [1.5, 2.7, 3.6, None])
    assert truth.effect == pytest.approx(0.6) and truth.spread == pytest.approx(0.1)
    assert (truth.low, truth.high) == pytest.approx((0.3516, 0.8484), abs=1e-4)
    assert (truth.pairs, truth.diverged) == (3, 1)


def test_pairs_that_share_their_noise_need_fewer_runs() -> None:
    noise = list(np.random.default_rng(4).standard_normal(30))
    changed = [value + 0.1 * (n % 2) for n, value in enumerate(noise)]
    runs = runs_needed(Truth(0.0, -1.0, 1.0, 1.0, 60), noise, changed)
    assert runs.paired == pytest.approx(0.0509, abs=1e-4)
    assert runs.ratio == pytest.approx(387, abs=1) and runs.unpaired > 10 * runs.paired


@pytest.mark.parametrize(
    ("word", "low", "high", "expected"),
    [
        (HELPS, -2.0, -1.0, AGREES),
        (HELPS, 1.0, 2.0, CONTRADICTS),
        (HURTS, 1.0, 2.0, AGREES),
        (HURTS, -1.0, 2.0, UNKNOWN),
        (NONE, -1.0, 0.05, AGREES),
        (NONE, 0.2, 0.3, CONTRADICTS),
        (INCONCLUSIVE, 1.0, 2.0, OPEN),
    ],
)
def test_a_verdict_agrees_with_a_truth_of_its_direction(
    word: str, low: float, high: float, expected: str
) -> None:
    truth = Truth((low + high) / 2, low, high, 1.0, 60)
    assert agreement(verdict(word), truth) == expected

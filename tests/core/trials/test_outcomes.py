"""Pairs are judged change by change, and a verdict that there is stays."""

from __future__ import annotations

from dataclasses import replace

from branchtrack.core.trials.judging import HELPS, INCONCLUSIVE
from branchtrack.core.trials.outcomes import judged, standing, summary, unjudged
from tests.core.trials import made_up

ROWS = ((2.0, 1.90, 2.01), (2.1, 1.99, 2.08), (2.2, 2.11, 2.23), (2.05, 1.96, 2.04))


def test_every_change_is_judged_against_the_same_controls() -> None:
    trial = made_up.trial(made_up.spec(arms=2), *ROWS)
    helps, open_still = judged(trial, trial.pairs)
    assert (helps.verdict, open_still.verdict) == (HELPS, INCONCLUSIVE)


def test_several_changes_have_wider_intervals_than_one() -> None:
    alone = made_up.trial(made_up.spec(arms=1), *[row[:2] for row in ROWS])
    both = made_up.trial(made_up.spec(arms=2), *ROWS)
    (one,), (first, _) = judged(alone, alone.pairs), judged(both, both.pairs)
    assert first.low is not None and one.low is not None and first.low < one.low


def test_a_verdict_that_there_is_does_not_change_with_later_pairs() -> None:
    trial = made_up.trial(None, *[row[:2] for row in ROWS])
    (verdict,) = judged(trial, trial.pairs)
    later = made_up.trial(None, (2.0, 5.0), verdicts=(verdict,))
    assert judged(later, later.pairs) == [verdict]


def test_a_summary_counts_verdicts() -> None:
    counts = summary(["helps", "helps", "hurts", "pending"])
    assert counts == {"helped": 2, "hurt": 1, "none": 0, "inconclusive": 0, "pending": 1}


def test_between_two_looks_nothing_is_concluded() -> None:
    trial = made_up.trial(None, *[row[:2] for row in ROWS])
    (verdict,) = unjudged(trial, trial.pairs, "it was cancelled before it was judged")
    assert (verdict.verdict, verdict.why) == (INCONCLUSIVE, "it was cancelled before it was judged")
    assert verdict.effect is not None


def test_a_verdict_of_a_look_stays_when_a_trial_is_ended() -> None:
    trial = made_up.trial(None, *[row[:2] for row in ROWS])
    (verdict,) = judged(trial, trial.pairs)
    later = made_up.trial(None, (2.0, 5.0), verdicts=(verdict,))
    assert unjudged(later, later.pairs, "cancelled") == [verdict]


def test_a_settled_trial_stands_whatever_became_of_later_ones() -> None:
    states = ("settled", "running", "cancelled")
    listed = [made_up.trial(None, id=state, state=state, subject="n") for state in states]
    assert standing(listed)["n"].id == "settled"
    assert standing(listed[1:])["n"].id == "running"
    assert standing(listed[2:])["n"].id == "cancelled"
    assert standing([made_up.trial()]) == {}


def test_a_repeat_that_is_not_the_same_bits_says_so_and_is_not_a_matter_of_repeats() -> None:
    trial = made_up.trial(None, (2.0, 2.1), (2.0, 1.9), (2.0, 2.05), kind="aa")
    (verdict,) = judged(trial, trial.pairs)
    assert (verdict.verdict, verdict.more) == (INCONCLUSIVE, None)
    assert verdict.why.startswith("not the same bits at the same seed")


def test_pairs_that_repeat_others_to_the_bit_are_said_to_need_other_nodes() -> None:
    first = made_up.pairs((2.0, 1.9))[0]
    alike = tuple(replace(first, number=number) for number in (1, 2, 3))
    (verdict,) = judged(made_up.trial(pairs=alike), alike)
    assert (verdict.verdict, verdict.pairs, verdict.more) == (INCONCLUSIVE, 1, None)
    assert "2 pairs repeat another to the bit" in verdict.why and "--at" in verdict.why


def test_more_repeats_than_a_trial_may_have_are_no_advice() -> None:
    rows = [(2.0, 2.0 + value) for value in (0.01, -0.009, 0.011, -0.01)]
    (verdict,) = judged(made_up.trial(None, *rows), made_up.pairs(*rows))
    assert verdict.more is None and "a trial has 100 at most" in verdict.why
    near = [(2.0, 2.0 + value) for value in (0.01, 0.002, 0.011, 0.004)]
    (verdict,) = judged(made_up.trial(None, *near), made_up.pairs(*near))
    assert verdict.verdict == INCONCLUSIVE and verdict.more is not None and not verdict.why

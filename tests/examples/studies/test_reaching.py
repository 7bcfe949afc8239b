"""Updates until a loss is reached: the loss itself, who never reaches it, and the sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from branchtrack.examples.studies import reaching
from branchtrack.examples.studies.outcome import Outcome
from branchtrack.examples.studies.reaching import BRANCHING, REFERENCE, RESTART
from tests.examples.studies import made_up

PLAN = replace(made_up.plan(), cases={"digits": {"turn": 80}}, steps=100, options={"within": 50})


def of(arm: str, seed: int, *curve: tuple[float, float]) -> Outcome:
    return made_up.outcome(arm, "digits", seed, curve=list(curve))


REFERENCES = [
    of(REFERENCE, 0, (20, 3.0), (40, 1.0), (60, 0.5)),
    of(REFERENCE, 1, (20, math.nan), (40, 2.0)),
]
OUTCOMES = [
    *REFERENCES,
    of(BRANCHING, 0, (20, 4.0), (40, 0.9)),
    of(BRANCHING, 1, (20, 2.5), (60, 1.5)),
    of(RESTART, 0, (20, 4.0), (80, 1.0)),
    of(RESTART, 1, (20, math.nan), (100, 2.1)),
]


def test_the_loss_to_reach_is_that_of_the_first_updates_without_the_error() -> None:
    assert reaching.targets(PLAN, OUTCOMES) == {("digits", 0): 1.0, ("digits", 1): 2.0}
    assert reaching.targets(PLAN, OUTCOMES[2:]) == {}


def test_updates_are_counted_until_the_loss_is_there_for_the_first_time() -> None:
    assert reaching.updates_to(OUTCOMES[0], 1.0) == 40
    assert reaching.updates_to(OUTCOMES[0], 0.1) is None
    assert reaching.updates_to(OUTCOMES[1], 2.0) == 40


def test_who_never_reaches_it_counts_with_all_updates() -> None:
    assert reaching.shares(PLAN, OUTCOMES) == {
        ("digits", 0): pytest.approx(40 / 80),
        ("digits", 1): pytest.approx(60 / 100),
    }


def test_where_neither_reaches_it_there_is_no_share() -> None:
    slow = [*REFERENCES, of(BRANCHING, 0, (20, 9.0)), *OUTCOMES[3:]]
    assert reaching.shares(PLAN, slow) == {
        ("digits", 0): pytest.approx(100 / 80),
        ("digits", 1): pytest.approx(60 / 100),
    }
    none = [*REFERENCES, of(BRANCHING, 0, (20, 9.0)), of(RESTART, 0, (20, 9.0))]
    assert reaching.shares(PLAN, none) == {("digits", 0): None, ("digits", 1): None}


def test_pairs_that_had_it_before_the_error_are_counted() -> None:
    assert reaching.before_the_error(PLAN, OUTCOMES) == 1
    later = replace(PLAN, cases={"digits": {"turn": 79}})
    assert reaching.before_the_error(later, OUTCOMES) == 0
    assert reaching.before_the_error(PLAN, OUTCOMES[2:]) == 0


def test_shares_that_are_only_bounds_are_counted() -> None:
    sentence = reaching.bounds(PLAN, OUTCOMES, BRANCHING, ["digits"])
    assert (
        sentence.startswith("Only 'branching agent' was there in 1 pairs") and "in 0," in sentence
    )
    slow = [*REFERENCES, of(BRANCHING, 0, (20, 9.0)), *OUTCOMES[4:5]]
    assert "in 0 pairs" in reaching.bounds(PLAN, slow, BRANCHING, ["digits"])
    assert "'restart agent' in 1," in reaching.bounds(PLAN, slow, BRANCHING, ["digits"])
    assert "'restart agent' in 0," in reaching.bounds(PLAN, slow, BRANCHING, ["text"])


def test_a_row_has_the_mean_of_the_seeds_that_were_there() -> None:
    assert reaching.column(PLAN, OUTCOMES, OUTCOMES[2:4]) == "50 (2 of 2)"
    assert reaching.column(PLAN, OUTCOMES, OUTCOMES[4:]) == "80 (1 of 2)"
    assert reaching.column(PLAN, OUTCOMES[2:], OUTCOMES[2:4]) == "not reached"


def test_every_seed_is_said() -> None:
    sentence = reaching.by_seed(PLAN, OUTCOMES, "digits")
    assert sentence.startswith(
        "digits, updates to 1.000, 2.000, by seed: without the error 40, 40;"
    )
    assert f"{BRANCHING} 40, 60; {RESTART} 80, never." in sentence


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (
            [0.5, 0.6, 0.9],
            "60% of the updates of 'restart agent', median",
        ),
        ([0.5, 0.6, 1.0], "fewer in 2 of 3 pairs); that is at most 60%."),
        ([0.5, 0.7, 0.9], "that is not at most 60%."),
        ([1.2, None], "Left out: 1 of 2"),
        ([None], "neither"),
    ],
)
def test_it_is_said_plainly_whether_the_aim_is_met(
    shares: Sequence[float | None], words: str
) -> None:
    sentence = reaching.verdict(shares, "Here")
    assert sentence.startswith("Here: ") and words in sentence

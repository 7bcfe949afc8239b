"""Lines of a log about trials, as sentences."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.analysis.trials import sentences
from branchtrack.core.records import Event

FACTS = {
    "changes": ["lr=x0.9", "lr=x3"],
    "metric": "loss",
    "nodes": ["3fa91c02aa", "77e3ada6bb"],
    "steps": 100,
    "pairs": 8,
}
HELPS = {"verdict": "helps", "effect": -0.0051, "low": -0.0062, "high": -0.004}
DIVERGED = {"verdict": "hurts", "effect": None, "low": None, "high": None}


def said(state: str, **facts: Any) -> str:
    payload = {**FACTS, **facts}
    event = Event(1, 1, "run", 0.0, "anna", "trial", "t", state, None, payload, "", "")
    return sentences.of_event(event)


def test_a_trial_that_begins_says_what_it_tries_and_from_where() -> None:
    assert said("created") == (
        "tries lr=x0.9; lr=x3 by loss after 100 updates, from 3fa91c02, 77e3ada6"
    )


def test_one_that_failed_says_what_it_tried() -> None:
    assert said("failed").startswith("failed: lr=x0.9; lr=x3 by loss")


def test_verdicts_are_told_change_by_change() -> None:
    assert said("settled", verdicts=[HELPS, DIVERGED]) == (
        "lr=x0.9: helps, −0.00510 (−0.00620 to −0.00400); lr=x3: hurts, 8 pairs by loss"
    )
    assert "lr=x3: no verdict yet" in said("running", verdicts=[HELPS, None])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((None, None, None), ""),
        ((-0.5, None, None), "−0.500"),
        ((0.012, -0.001, 0.025), "+0.0120 (−0.0010 to +0.0250)"),
        ((0.0, 0.0, 0.0), "0 (0 to 0)"),
    ],
)
def test_an_effect_and_its_interval_have_the_same_decimals(values: Any, words: str) -> None:
    assert sentences.effect_words(*values) == words

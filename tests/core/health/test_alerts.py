"""What alerts say, how urgent they are, and when two are the same."""

from __future__ import annotations

import math

import pytest

from branchtrack.core.health import alerts
from branchtrack.core.health.detectors import Finding
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding("nan", "loss", 812, math.nan), "loss is NaN since step 812"),
        (
            Finding("spike", "loss", 90, 9.5, {"median": 2.0}),
            "loss spikes to 9.500 at step 90, from about 2.000",
        ),
        (
            Finding("plateau", "eval_loss", 3000, 2.0, {"best": 2.0, "since": 1000, "points": 10}),
            "eval_loss has not improved in 10 points: the best is 2.000 at step 1,000",
        ),
        (
            Finding("target", "loss", 5, 2.4, {"target": "loss<2.5"}),
            "loss is 2.400 at step 5: the target loss<2.5 is reached",
        ),
    ],
)
def test_an_alert_says_what_is_wrong_and_where_it_began(finding: Finding, words: str) -> None:
    assert alerts.words(finding) == words


def test_what_a_dead_or_stuck_process_cannot_say() -> None:
    assert alerts.stall_words(40, 900) == "no update for 15 min: still at step 40"
    assert alerts.crash_words("gone", 40, None) == (
        "the training process is gone, last heard of at step 40"
    )
    assert alerts.crash_words("failed", 4, "ValueError: x") == (
        "training failed at step 4: ValueError: x"
    )
    assert "has 1" in alerts.disk_words(10**6, 10**9)


def test_the_same_finding_has_the_same_key_and_every_key_fits() -> None:
    long = Finding("nan", "m" * 500, 812, math.nan)
    assert alerts.key_of(long, "s" * 16) == alerts.key_of(long, "s" * 16)
    assert len(alerts.key_of(long, "s" * 16)) <= 120
    assert alerts.key_of(long, "a") != alerts.key_of(long, "b")
    other = Finding("nan", "m" * 499 + "n", 812, math.nan)
    assert alerts.key_of(long, "a") != alerts.key_of(other, "a")
    assert alerts.key("crash", "a") == "crash:a"


def test_levels_are_ordered_and_others_refused() -> None:
    assert alerts.levels_from("warn") == ("warn", "error")
    assert set(alerts.KINDS.values()) <= set(alerts.LEVELS)
    with pytest.raises(InvalidInput):
        alerts.level("loud")

"""The picture of effects says which interval is which, also without colours."""

from __future__ import annotations

from branchtrack.core.trials.judging import HELPS, INCONCLUSIVE, Verdict
from tests.benchmarks import trial_picture
from tests.benchmarks.trial_report import Effect
from tests.benchmarks.trial_verdicts import AGREES, Runs, Truth

TRUTH = Truth(-0.1, -0.2, -0.05, 0.3, 60)
HELPING = Verdict(HELPS, -0.1, -0.12, -0.08, 0.01, 0.001, 0.0, 8)
UNKNOWN = Verdict(INCONCLUSIVE, None, None, None, None, 0.001, 0.0, 1)


def effects() -> list[Effect]:
    runs = Runs(0.3, 0.2, 0.1)
    return [
        Effect("digits", "lr x3", 1.0, TRUTH, HELPING, AGREES, runs),
        Effect("text", "lr x0.9", 2.0, TRUTH, UNKNOWN, AGREES, runs),
    ]


def test_the_picture_names_tasks_changes_and_verdicts() -> None:
    picture = trial_picture.svg(effects())
    for words in ("digits", "text", "lr x3", "trial: helps", "trial: inconclusive", "truth:"):
        assert words in picture


def test_equal_effects_give_equal_bytes() -> None:
    assert trial_picture.svg(effects()) == trial_picture.svg(effects())


def test_the_picture_has_a_ground_of_its_own() -> None:
    assert "fill: #ffffff" in trial_picture.svg(effects())

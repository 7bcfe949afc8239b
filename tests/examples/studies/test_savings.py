"""What a trunk saves: updates of all lengths, losses seed by seed, and the sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from branchtrack.examples.studies import savings
from branchtrack.examples.studies.outcome import Outcome
from branchtrack.examples.studies.savings import ALIKE, FULL, TRUNK
from tests.examples.studies import made_up

PLAN = replace(made_up.plan(), cases={"10 updates": 10, "20 updates": 20})


def of(arm: str, steps: int, losses: Sequence[Sequence[float]]) -> list[Outcome]:
    """The outcomes of an arm: for each length the losses of the seeds."""
    return [
        made_up.outcome(arm, case, seed, loss, steps=steps)
        for case, row in zip(PLAN.cases, losses, strict=True)
        for seed, loss in enumerate(row)
    ]


OUTCOMES = [
    *of(TRUNK, 16, [[2.0, 2.25], [1.0, 1.0]]),
    *of(FULL, 30, [[2.5, 2.0], [1.5, 1.25]]),
    *of(ALIKE, 30, [[2.0, 2.25], [1.0, 1.0]]),
]


def test_the_share_is_of_the_updates_of_all_lengths() -> None:
    assert savings.updates(OUTCOMES, FULL) == 30
    assert savings.share(OUTCOMES) == pytest.approx(16 / 30)


def test_losses_are_compared_seed_by_seed() -> None:
    assert savings.differences(OUTCOMES, "10 updates") == [-0.5, 0.25]
    assert savings.differences(OUTCOMES[1:], "10 updates") == [0.25]
    text = savings.by_length(PLAN, OUTCOMES)
    assert "10 updates -0.125 ± 0.530 (lower or equal in 1 of 2)" in text
    assert "20 updates -0.375 ± 0.177 (lower or equal in 2 of 2)" in text


def test_the_aim_is_met_with_few_updates_and_no_higher_loss_at_any_length() -> None:
    text = savings.verdict(PLAN, OUTCOMES)
    assert "16 updates" in text and "53% of the 30" in text
    assert "at 2 of 2 lengths" in text and text.endswith(", is met.")
    costly = [replace(o, steps=17) if o.arm == TRUNK else o for o in OUTCOMES]
    assert savings.verdict(PLAN, costly).endswith(", is not met.")
    higher = [replace(o, loss=9.0) if o == OUTCOMES[0] else o for o in OUTCOMES]
    text = savings.verdict(PLAN, higher)
    assert "at 1 of 2 lengths" in text and text.endswith(", is not met.")


def test_equal_losses_with_the_same_schedule_are_counted() -> None:
    assert "in 4 of 4 pairs" in savings.alike(PLAN, OUTCOMES)
    other = [replace(o, loss=2.1) if o == OUTCOMES[0] else o for o in OUTCOMES]
    assert "in 3 of 4 pairs" in savings.alike(PLAN, other)

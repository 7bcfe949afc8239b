"""The plateau policy."""

from __future__ import annotations

import math
from typing import Any

from branchtrack.core.agents.decisions import Decision
from branchtrack.core.agents.policies.plateau import Plateau, points_since_best
from tests.core.agents.seen import curve, view

FLAT = [1.0] * 6


def decide(options: dict[str, Any], memory: dict[str, Any], **facts: Any) -> list[Decision]:
    return Plateau.of({"metric": "eval_loss", **options}).decide(view(**facts), memory)


def test_the_rate_falls_when_evaluations_bring_nothing() -> None:
    memory: dict[str, Any] = {}
    facts: dict[str, Any] = {"curves": {"eval_loss": curve(FLAT)}, "step": 6}
    (decision,) = decide({}, memory, **facts)
    assert decision.values == {"lr": 0.05} and "5 points" in decision.reason
    assert decide({}, memory, **facts) == []


def test_fewer_points_than_its_patience_or_progress_are_waited_for() -> None:
    assert decide({}, {}, curves={"eval_loss": curve(FLAT[:5])}) == []
    falling = [1.0 - i / 10 for i in range(9)]
    assert decide({}, {}, curves={"eval_loss": curve(falling)}) == []


def test_nothing_is_asked_of_what_does_not_train_or_below_the_smallest() -> None:
    curves = {"eval_loss": curve(FLAT)}
    assert decide({}, {}, curves=curves, status="finished") == []
    assert decide({"smallest": 0.06}, {}, curves=curves) == []


def test_without_evaluations_the_smoothed_loss_is_watched() -> None:
    policy = Plateau.of({"patience": 2, "window": 3})
    assert policy.decide(view([1.0] * 7), {}) and not policy.decide(view([1.0] * 6), {})


def test_points_since_the_best_are_counted() -> None:
    assert points_since_best(curve([3, 2, math.nan, 2.5]), 0.0) == 2
    assert points_since_best(curve([math.nan]), 0.0) == 1
    assert points_since_best(curve([1.0, 0.9999]), 0.01) == 1

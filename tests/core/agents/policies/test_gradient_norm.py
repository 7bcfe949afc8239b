"""The gradient-norm guard."""

from __future__ import annotations

import math
from typing import Any

from branchtrack.core.agents.policies.gradient_norm import GradientNorm
from tests.core.agents.seen import SETTINGS, curve, view

HIGH = [0.5] * 50 + [9.0] * 3


def seen(values: list[float], **facts: Any) -> Any:
    return view(curves={"grad_norm": curve(values)}, step=len(values), **facts)


def test_the_norm_is_clipped_at_its_usual_value() -> None:
    memory: dict[str, Any] = {}
    (decision,) = GradientNorm.of({}).decide(seen(HIGH), memory)
    assert decision.values == {"max_grad_norm": 0.5} and "usual 0.5" in decision.reason
    assert GradientNorm.of({}).decide(seen(HIGH), memory) == []


def test_where_nothing_can_be_clipped_the_rate_falls() -> None:
    tight = {**SETTINGS, "max_grad_norm": 0.2}
    (decision,) = GradientNorm.of({}).decide(seen(HIGH, settings=tight), {})
    assert decision.values == {"lr": 0.05}


def test_a_single_high_norm_and_a_short_history_are_no_reason() -> None:
    policy = GradientNorm.of({})
    assert policy.decide(seen([0.5] * 52 + [9.0]), {}) == []
    assert policy.decide(seen([0.5] * 10 + [9.0] * 3), {}) == []
    assert policy.decide(seen([0.5] * 50 + [math.nan] * 3), {}) == []
    assert policy.decide(seen(HIGH, status="finished"), {}) == []

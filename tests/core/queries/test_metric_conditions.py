"""Conditions on metrics: read, refused if they are about anything else, judged by newest values."""

from __future__ import annotations

import math

import pytest

from branchtrack.core.queries import metric_conditions
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "metrics", "step", "met"),
    [
        ("eval_loss<2.5", {"eval_loss": 2.4}, 0, True),
        ("eval_loss<2.5", {"eval_loss": 2.5}, 0, False),
        ("eval_loss<2.5", {}, 0, False),
        ("not eval_loss<2.5", {}, 0, False),
        ("eval_loss<2.5", {"eval_loss": math.nan}, 0, False),
        ("loss<3 and step>=100", {"loss": 1.0}, 99, False),
        ("loss<3 and step>=100", {"loss": 1.0}, 100, True),
        ("loss<3 or accuracy>0.9", {"accuracy": 0.95}, 0, True),
        ("`eval/loss`<=1", {"eval/loss": 1.0}, 0, True),
        ("metric.loss>1", {"loss": math.inf}, 0, True),
    ],
)
def test_a_condition_is_met_by_known_values_alone(
    text: str, metrics: dict[str, float], step: int, met: bool
) -> None:
    term = metric_conditions.parse(text, "once")
    assert metric_conditions.is_met(term, metrics, step) is met
    assert metric_conditions.parse(str(term), "once") == term


@pytest.mark.parametrize(
    "text", ["", " ", "los<<", "status:failed", "best(loss)<1", "setting.lr<1", "loss=low", 3, None]
)
def test_what_is_not_about_metrics_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        metric_conditions.parse(text, "once")
    assert caught.value.field == "once" and "eval_loss<2.5" in caught.value.allowed

"""Rules: strict where they come in, lenient where another version wrote them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.core.health import rules
from branchtrack.core.health.rules import Rules, Target
from branchtrack.errors import InvalidInput


def test_only_what_differs_from_the_defaults_is_stored() -> None:
    assert Rules().as_json() is None
    changed = rules.from_json({"spike": None, "stall": 60, "targets": ["eval_loss < 2.5"]})
    stored = changed.as_json()
    assert stored == {"spike": None, "stall": 60.0, "targets": ["eval_loss<2.5"]}
    assert rules.from_json(stored) == changed


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"spike": "high"}, "spike"),
        ({"spike": math.nan}, "spike"),
        ({"stall": 0}, "stall"),
        ({"disk": -1}, "disk"),
        ({"nan": 1}, "nan"),
        ({"window": 5}, "window"),
        ({"metrics": ["a\0b"]}, "metrics"),
        ({"metrics": [""]}, "metrics"),
        ({"loss": True}, "loss"),
        ({"targets": ["eval_loss=2"]}, "target"),
        ({"targets": ["eval_loss<1e999"]}, "target"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(value: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rules.from_json(value)
    assert refused.value.field == field


def test_rules_of_another_version_are_the_defaults() -> None:
    assert rules.readable({"from_the_future": 1}) == Rules()
    assert rules.readable(None) == Rules()


@pytest.mark.parametrize(
    ("text", "reached", "missed"),
    [
        ("loss<2", 1.9, 2.0),
        ("loss<=2", 2.0, 2.1),
        ("eval/acc > .9", 0.95, 0.9),
        ("acc>=9e-1", 0.9, 0.89),
        ("loss<-1", -2.0, math.nan),
        ("acc>1", 2.0, math.nan),
    ],
)
def test_a_target_is_a_comparison(text: str, reached: float, missed: float) -> None:
    target = rules.target(text)
    assert target.is_reached(reached) and not target.is_reached(missed)
    assert rules.target(str(target)) == target


def test_a_target_is_spelled_one_way() -> None:
    assert rules.target(" eval_loss  <= +2.50 ") == Target("eval_loss", "<=", 2.5)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("spike", "off", None),
        ("spike", "on", 10.0),
        ("spike", "12.5", 12.5),
        ("nan", "off", False),
        ("crash", "on", True),
        ("plateau", "20", 20),
        ("disk", "20 GB", 20 * 10**9),
        ("disk", "1e9", 10**9),
    ],
)
def test_a_rule_is_written_as_people_write_it(field: str, text: str, value: Any) -> None:
    assert rules.from_text(field, text) == value


@pytest.mark.parametrize(("field", "text"), [("spike", "high"), ("nan", "3"), ("stall", "10GB")])
def test_a_text_that_spells_no_rule_is_refused(field: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        rules.from_text(field, text)

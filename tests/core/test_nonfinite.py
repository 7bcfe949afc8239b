"""NaN and the infinities are told by name, and come back from where they were kept."""

from __future__ import annotations

import json
import math

import pytest

from branchtrack.core.builtin_settings import MAX_GRAD_NORM
from branchtrack.core.nonfinite import metric, packed, spelled, unpacked
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput


def test_readers_are_told_names_and_numbers_stay_numbers() -> None:
    assert spelled({1: [math.nan, math.inf, (-math.inf, 1.5)], "a": True}) == {
        "1": ["NaN", "Infinity", ["-Infinity", 1.5]],
        "a": True,
    }


def test_what_is_kept_comes_back_and_a_text_stays_a_text() -> None:
    value = {"a": [math.inf, {"b": -math.inf}], "text": "Infinity", "other": {"$float": "x"}}
    text = json.dumps(packed(value), allow_nan=False)
    assert json.loads(text, object_hook=unpacked) == value
    assert math.isnan(json.loads(json.dumps(packed(math.nan)), object_hook=unpacked))


def test_metrics_of_earlier_versions_are_numbers_again() -> None:
    assert metric("inf") == math.inf and math.isnan(metric("nan") or 0.0)
    assert metric(None) is None and metric(1.5) == 1.5


ENDLESS = Setting("clip", minimum=0.0, infinite=True)


@pytest.mark.parametrize("text", ["inf", "Infinity", "+inf", "∞", " INF ", math.inf])
def test_infinity_is_taken_where_a_setting_says_so(text: object) -> None:
    assert ENDLESS.validate(text) == MAX_GRAD_NORM.validate(text) == math.inf
    assert "or inf" in ENDLESS.allowed
    with pytest.raises(InvalidInput, match="x: "):
        Setting("x").validate(text)


@pytest.mark.parametrize("text", ["-inf", "−∞", "nan", math.nan, "1e999", "infi"])
def test_nan_and_what_is_out_of_bounds_is_refused_all_the_same(text: object) -> None:
    with pytest.raises(InvalidInput, match="clip"):
        ENDLESS.validate(text)


def test_minus_infinity_needs_no_minimum() -> None:
    assert Setting("x", infinite=True).validate("-inf") == -math.inf


def test_nobody_is_clamped_from_infinity() -> None:
    assert Setting("x", maximum=5.0).nearest("inf") == "inf"

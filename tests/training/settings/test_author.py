"""Names that a script may give its settings."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.training.settings.author import Values, setting

RECORDED = """
    step verified update grad_norm groups schedule lr_now maker.lr_now momentum_now betas_now group0
    group12.lr maker.group0.lr data.noise model.drop.p
""".split()


@pytest.mark.parametrize("name", RECORDED)
def test_names_that_the_record_uses_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="lr_now") as caught:
        Values({name: 1})
    assert caught.value.value == name and "grad_norm" in caught.value.allowed


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ("a", {"minimum": 2}),
        ("a", {"maximum": 2, "choices": ("a",)}),
        (True, {"minimum": 0}),
        (1, {"minimum": "0"}),
        (1.0, {"maximum": float("nan")}),
        ([1.0], {"maximum": [2.0]}),
    ],
)
def test_bounds_are_numbers_and_of_numbers(value: object, bounds: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="a number, for a setting that is") as caught:
        setting(value, **bounds)
    assert caught.value.field == next(iter(bounds))


def test_names_that_only_resemble_them_are_allowed() -> None:
    assert len(Values({"steps": 1, "group": 2, "grouped.lr": 3, "lr_now_and_then": 4})) == 4

"""Numbers of any library are taken, nested ones flattened, and the rest is told by name."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from branchtrack.training.record.logged_values import Refusals, numbers

TAKEN: list[tuple[Any, float]] = [
    (True, 1.0),
    (np.bool_(False), 0.0),
    (Decimal("0.1"), 0.1),
    (Fraction(1, 4), 0.25),
    (np.float16(0.5), 0.5),
    (np.longdouble(2), 2.0),
    (np.array([[3]]), 3.0),
    (torch.tensor([1.5]), 1.5),
    (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
    (torch.tensor(2.0, dtype=torch.float8_e4m3fn), 2.0),
    (torch.tensor(True), 1.0),
    (torch.nn.Parameter(torch.tensor(4.0)), 4.0),
    (10**300, 1e300),
    (math.inf, math.inf),
]


@pytest.mark.parametrize(("value", "number"), TAKEN, ids=lambda value: f"{type(value).__name__}")
def test_a_number_of_any_library_is_taken(value: Any, number: float) -> None:
    assert numbers({"x": value}) == ({"x": number}, {})


class Broken:
    """A number whose class fails when it is asked."""

    def __float__(self) -> float:
        raise RuntimeError("not on this device")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("1", "a str is not a number"),
        (None, "NoneType"),
        (torch.ones(3), "3 elements"),
        ([1.0], "list"),
        (np.zeros(0), "0 elements"),
        (10**400, "too large"),
        (Decimal("1e400"), "too large"),
        (1j, "complex"),
        (torch.tensor(1j), "complex"),
        (b"1", "bytes"),
        pytest.param(Broken(), "device", id="broken"),
    ],
    ids=str,
)
def test_what_is_no_number_is_told_with_the_reason(value: Any, why: str) -> None:
    found, refused = numbers({"x": value, "y": 1})
    assert found == {"y": 1.0} and why in refused["x"]


def test_an_empty_name_is_refused() -> None:
    assert numbers({"": 1, "\0": 2, "x": 3}) == ({"x": 3.0}, {'""': "its name is empty"})


def test_nested_values_go_by_the_names_on_the_way_to_them() -> None:
    found, refused = numbers({"a": {"b": 1, "c": {"d": 2, 3: 4}}, "e": {}, 0: 5})
    assert found == {"a/b": 1.0, "a/c/d": 2.0, "a/c/3": 4.0, "0": 5.0} and not refused


def test_a_mapping_that_holds_itself_comes_to_an_end() -> None:
    values: dict[str, Any] = {"x": 1}
    values["self"] = values
    assert "is not a number" in next(iter(numbers(values)[1].values()))


def test_a_name_that_no_database_can_hold_is_made_one_and_a_longer_one_is_told() -> None:
    found, refused = numbers({"a\x00b\ud800": 1, "n" * 500: 2, "m" * 501: 3})
    assert found == {"ab?": 1.0, "n" * 500: 2.0}
    assert list(refused) == ["m" * 40 + "…"]


def test_each_name_is_told_once_and_at_some_time_no_more() -> None:
    refusals = Refusals()
    assert refusals.fresh({"a": "why"}) == {"a": "why"} and refusals.fresh({"a": "why"}) == {}
    told = [refusals.fresh({f"n{place}": "why"}) for place in range(200)]
    assert sum(map(len, told)) == 100 and told[98]["…"] and not told[99]

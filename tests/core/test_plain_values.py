"""What records can bear, and what is kept of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from branchtrack.core import plain_values
from branchtrack.errors import InvalidInput


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


BAD = [
    {"a": "\ud800"},
    {"\udfff": 1},
    {"a": {"b": ["x", {"c": "\x00"}]}},
    {"a": 2**63},
    {"a": [-(2**64)]},
    {"a": 10**5000},
    nested(11),
    nested(3000),
]


@pytest.mark.parametrize("value", BAD, ids=range(len(BAD)))
def test_what_no_record_bears_is_refused_and_kept_cleaned(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        plain_values.check(value, "payload")
    str(caught.value).encode()
    kept = plain_values.cleaned(value)
    plain_values.check(kept, "payload")
    assert len(json.dumps(kept)) < 500


def test_the_error_names_the_path() -> None:
    with pytest.raises(InvalidInput) as caught:
        plain_values.check({"values": {"lr": ["\ud800"]}}, "")
    assert caught.value.field == "values.lr"


def test_all_else_stays_as_it_is() -> None:
    value = {"a": [1, 2.5, True, None, "é😀\n"], "b": {"c": float("inf"), "d": -(2**63) + 1}}
    plain_values.check(value, "")
    assert plain_values.cleaned(value) == value

"""A row comes back from its line to the bit, and nothing else does."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.bundles.rows import LOCAL, TABLES, BadRow, decoded, encoded
from branchtrack.db import tables

POINT = {"series_id": 1, "step": 2, "value": 0.1, "time": 1e9}


@pytest.mark.parametrize("value", [0.1, -0.0, math.inf, -math.inf, 5e-324, None])
def test_numbers_come_back_to_the_bit(value: float | None) -> None:
    line = encoded(tables.metric_points, {**POINT, "value": value, "seal": "local"})
    assert b"local" not in line
    arrived = decoded(tables.metric_points, line)
    assert repr(arrived) == repr({**POINT, "value": value})


def test_bytes_and_the_text_of_json_come_back_letter_by_letter() -> None:
    group = {"digest": "d", "body": b"\x00\xff", "created_at": 1.0}
    assert decoded(tables.texts, encoded(tables.texts, group)) == group
    row = {name: None for name in tables.tensors.c.keys()}
    row |= {"digest": "d", "pack": "p", "name": "n", "dtype": "F32", "offset": 0, "nbytes": 4}
    row["shape"] = '[1,  2 , 1e0]'  # fmt: skip
    assert decoded(tables.tensors, encoded(tables.tensors, row)) == row


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"step": 1.5}, "step"),
        ({"step": True}, "step"),
        ({"step": 1 << 63}, "step"),
        ({"value": "1"}, "value"),
        ({"value": {"float": "1e"}}, "value"),
        ({"time": None}, "time is missing"),
        ({"seal": "0" * 16}, "other columns"),
    ],
)
def test_a_value_that_no_column_holds_is_refused(change: dict[str, Any], why: str) -> None:
    import json

    line = json.dumps({**POINT, **change}).encode()
    with pytest.raises(BadRow, match=why):
        decoded(tables.metric_points, line)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"[" * 10_000, b"\xff", b"1"])
def test_a_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(BadRow):
        decoded(tables.metric_points, line)


def test_secrets_and_what_is_of_this_machine_never_travel() -> None:
    assert not {"tokens", "workers", "packs", "tensors", "seals"} & TABLES.keys()
    assert LOCAL.keys() <= TABLES.keys()

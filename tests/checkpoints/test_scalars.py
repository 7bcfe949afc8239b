"""Single values come back from JSON with their type and every bit."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from enum import Enum, IntFlag
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from branchtrack.checkpoints import scalars
from branchtrack.errors import CheckpointMismatch


class Phase(Enum):
    WARM = "warm"
    COLD = "cold"


class Flags(IntFlag):
    A = 1
    B = 2


def through_json(value: Any) -> Any:
    return scalars.decode(json.loads(json.dumps(scalars.encode(value), allow_nan=False)))


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1),
        np.float64(-0.0),
        np.int8(-3),
        np.bool_(True),
        np.str_("ä"),
        np.datetime64("2024-02-29"),
        np.complex64(1 + 2j),
        math.inf,
        -math.inf,
        complex(1.5, -0.0),
        Decimal("1.10"),
        Fraction(1, 3),
        b"\x00\xff",
        bytearray(b"ab"),
        Phase.COLD,
    ],
    ids=repr,
)
def test_a_value_that_json_lacks_comes_back_as_it_was(value: Any) -> None:
    restored = through_json(value)
    assert type(restored) is type(value)
    assert repr(restored) == repr(value) and restored == value


@pytest.mark.parametrize("value", [True, 7, 0.1, "text"])
def test_a_value_that_json_has_stays_as_it_is(value: Any) -> None:
    assert scalars.encode(value) is value


def test_not_a_number_comes_back() -> None:
    assert math.isnan(through_json(math.nan))


@pytest.mark.parametrize("value", [None, [1], object(), np.void(b"ab"), Flags.A | Flags.B])
def test_what_cannot_be_given_back_whole_is_not_taken(value: Any) -> None:
    assert scalars.encode(value) is None


def test_a_member_of_an_enum_in_a_function_is_not_taken() -> None:
    class Local(Enum):
        ONE = 1

    assert scalars.encode(Local.ONE) is None


@pytest.mark.parametrize(
    ("key", "name"), [("module", "not_imported"), ("class", "Gone"), ("member", "HOT")]
)
def test_an_enum_that_the_script_has_no_more_is_named(key: str, name: str) -> None:
    with pytest.raises(CheckpointMismatch, match=name) as caught:
        scalars.decode({**scalars.encode(Phase.COLD), key: name})
    assert caught.value.safe == "No training was done."


def test_only_tags_that_are_read_are_known() -> None:
    assert all(map(scalars.is_known, ("scalar", "enum", "float", "bytes")))
    assert not scalars.is_known("tensor") and not scalars.is_known("")

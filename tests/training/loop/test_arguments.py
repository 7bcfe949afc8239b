"""Plain arguments of a loop are checked before anything is recorded, and refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from branchtrack.errors import InvalidInput
from branchtrack.training.loop import arguments


def counts(**values: Any) -> dict[str, int | None]:
    numbers = {"max_steps": None, "save_steps": None, "seed": None, **values}
    return arguments.counts(**numbers)


def test_whole_numbers_of_any_library_are_pythons_own() -> None:
    numbers = counts(max_steps=np.int64(10), seed=0)
    assert numbers == {"max_steps": 10, "save_steps": None, "seed": 0}
    assert type(numbers["max_steps"]) is int


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", 0),
        ("max_steps", 1.0),
        ("max_steps", "10"),
        ("save_steps", True),
        ("save_steps", -1),
        ("seed", -1),
        ("seed", np.float32(1)),
    ],
)
def test_what_is_no_such_number_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match="or None") as caught:
        counts(**{name: value})
    assert caught.value.field == name


def test_a_name_is_text_or_the_scripts_own() -> None:
    arguments.check(None)
    arguments.check("digits", settings={"alpha": 1}, objects=None)
    with pytest.raises(InvalidInput) as caught:
        arguments.check(7)
    assert caught.value.field == "name"


@pytest.mark.parametrize("value", [[1], "lr=1", {1: 2}])
def test_what_is_by_name_is_a_dict_with_names(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        arguments.check(None, settings=value)
    assert caught.value.field == "settings"

"""What runs and branches may be called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.core import names
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize("name", ["main", "cooler-lr", "a", "3e-4", "A_b.c+d", "x" * 80])
def test_these_are_names(name: str) -> None:
    assert names.valid_name(name) == name


@pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "a b", "x" * 81, "é", "a\n", None, 3])
def test_these_are_not(name: Any) -> None:
    with pytest.raises(InvalidInput, match="letters, digits"):
        names.valid_name(name)


@given(st.text(max_size=200))
def test_any_text_becomes_a_name(text: str) -> None:
    assert names.valid_name(names.as_name(text, "run"))


@given(st.sets(st.sampled_from(["a", "a-2", "a-3", "a-4"])))
def test_a_free_name_is_free_and_valid(taken: set[str]) -> None:
    found = names.free_name("a", taken)
    assert found not in taken and names.valid_name(found)


def test_ids_are_recognised_from_four_characters_on() -> None:
    made = names.new_id()
    assert len(made) == 16 and names.is_id_prefix(made) and names.is_id_prefix(made[:4])
    assert not names.is_id_prefix(made[:3]) and not names.is_id_prefix("main")

"""Readers choose the keys of an answer."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.schemas.bases import Answer
from branchtrack.web.input.selection import selected


class _Item(Answer):
    name: str
    values: dict[str, Any]
    parts: list[dict[str, Any]]


class _Page(Answer):
    items: ClassVar[str] = "rows"

    rows: list[_Item]
    next: int | None


ITEM = {"name": "a", "values": {"lr": 1, "eps": 2}, "parts": [{"id": 1, "n": 2}, {"id": 3}]}


def test_of_an_object_the_chosen_keys_are_left() -> None:
    assert selected("name", _Item)(ITEM) == {"name": "a"}
    assert selected(" name , values ", _Item)(ITEM) == {"name": "a", "values": ITEM["values"]}


def test_a_key_within_another_is_chosen_by_its_path() -> None:
    assert selected("values.lr,parts.id", _Item)(ITEM) == {
        "values": {"lr": 1},
        "parts": [{"id": 1}, {"id": 3}],
    }
    assert selected("values.nothing", _Item)(ITEM) == {"values": {}}
    assert selected("name.x", _Item)(ITEM) == {"name": "a"}


def test_a_whole_value_holds_what_is_chosen_of_it() -> None:
    for text in ("values,values.lr", "values.lr,values"):
        assert selected(text, _Item)(ITEM) == {"values": ITEM["values"]}


def test_of_a_page_it_is_the_keys_of_each_item() -> None:
    page = {"rows": [ITEM, ITEM], "next": 7, "total": 2}
    assert selected("name", _Page)(page) == {**page, "rows": [{"name": "a"}] * 2}


@pytest.mark.parametrize(
    "text", ["nope", "name,nope", ",", "name,", "rows", ".name", "name.", "name..x"]
)
def test_a_key_that_there_is_not_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        selected(text, _Page)
    assert (caught.value.field, caught.value.allowed) == ("fields", "name, values, parts")

"""Addresses and bodies are read by their models; what is wrong is named."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from flask import Flask
from pydantic import Field

from branchtrack.errors import InvalidInput
from branchtrack.schemas.bases import Body, Query
from branchtrack.web.input import models


class _Search(Query):
    ref: str = Field(description="RUN or RUN/BRANCH")
    limit: Annotated[int, Field(ge=1, le=9)] | Literal["all"] = 5
    first: int | None = Field(None, alias="from")


class _Order(Body):
    names: list[str] = []


def read(address: str) -> _Search:
    with Flask(__name__).test_request_context(f"/?{address}"):
        return models.query(_Search)


def refusal(address: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(address)
    return caught.value


def test_an_address_is_read_and_what_is_empty_is_left_out() -> None:
    assert read("ref=a&limit=&from=3") == _Search.model_validate({"ref": "a", "from": 3})
    assert read("ref=a&limit=all&token=secret").limit == "all"


def test_a_missing_parameter_is_named_with_what_it_may_be() -> None:
    error = refusal("limit=3")
    assert (error.field, error.allowed) == ("ref", "RUN or RUN/BRANCH")
    assert error.what == "ref is needed."


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    error = refusal("ref=a&first=3")
    assert error.field == "first" and error.allowed == "ref, limit, from"
    assert refusal("ref=a&first=").field == "first"


def test_every_form_of_a_value_is_named() -> None:
    error = refusal("ref=a&limit=10")
    assert (error.field, error.value) == ("limit", "10")
    assert "less than or equal to 9" in error.allowed and "'all'" in error.allowed


def test_one_that_is_given_twice_is_refused() -> None:
    assert refusal("ref=a&ref=b").what == "'ref' is given twice."


@pytest.mark.parametrize("values", [{"names": [5]}, {"names": "a"}, {"names": None}])
def test_an_item_of_a_list_is_named_by_the_list(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        models.validated(_Order, values)
    assert (caught.value.field, caught.value.value) == ("names", values["names"])

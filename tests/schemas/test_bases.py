"""What is accepted from outside, and what is read of an answer."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from branchtrack.schemas.bases import Answer, Body, Number, Query


class _Point(Answer):
    value: Number


class _Order(Body):
    count: int = 0
    flag: bool = False


class _Search(Query):
    name: str = ""


def test_numbers_that_json_lacks_are_read_from_their_names() -> None:
    assert math.isnan(_Point.model_validate_json('{"value": "NaN"}').value)
    assert _Point.model_validate_json('{"value": "-Infinity"}').value == -math.inf
    schema = _Point.model_json_schema()["properties"]["value"]
    assert {form["type"] for form in schema["anyOf"]} == {"number", "string"}


def test_an_answer_of_a_newer_server_is_read() -> None:
    assert _Point.model_validate({"value": 1.0, "newer": 2}).value == 1.0


@pytest.mark.parametrize("body", [{"counts": 1}, {"count": "1"}, {"count": True}, {"flag": "yes"}])
def test_a_body_has_no_other_fields_and_no_words_for_values(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _Order.model_validate(body)


def test_an_address_has_no_other_parameters() -> None:
    with pytest.raises(ValidationError):
        _Search.model_validate({"nmae": "x"})

"""The JSON of a request is read strictly: what is not understood is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import Refused
from branchtrack.web.input import json_body

JSON = "application/json"


def fields(data: str | bytes, kind: str | None = JSON) -> dict[str, Any]:
    context = Flask(__name__).test_request_context("/", method="POST", data=data, content_type=kind)
    with context:
        return json_body.read()


def test_an_object_is_read() -> None:
    assert fields('{"a": 1, "b": null}') == {"a": 1, "b": None}
    assert fields('{"any": {}}') == {"any": {}}
    assert fields("{}", f"{JSON}; charset=utf-8") == {}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_of_another_type_is_refused(kind: str | None) -> None:
    with pytest.raises(Refused) as caught:
        fields("{}", kind=kind)
    assert caught.value.status == 415


@pytest.mark.parametrize("data", ["", "{", b"\xff", "[" * 10_000])
def test_what_is_no_json_is_refused(data: str | bytes) -> None:
    with pytest.raises(Refused) as caught:
        fields(data)
    assert (caught.value.status, caught.value.facts["field"]) == (400, "body")


@pytest.mark.parametrize("data", ["[]", "null", '"a"', "7"])
def test_json_that_is_no_object_is_refused(data: str) -> None:
    with pytest.raises(InvalidInput, match="one JSON object"):
        fields(data)


def test_a_name_that_stands_twice_is_refused_however_deep() -> None:
    with pytest.raises(InvalidInput, match="'lr' is given twice"):
        fields('{"values": {"lr": 1, "lr": 2}}')

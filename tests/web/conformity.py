"""Whether an answer of the API is what its document says: its status, its keys, and no others."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

from flask import Flask
from pydantic import BaseModel, RootModel
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from branchtrack.schemas.errors import ErrorAnswer
from branchtrack.web.api import contract, document


def check(app: Flask, answer: TestResponse) -> None:
    """Fail if an answer of a route of the API does not fit its models."""
    request = answer.request
    is_redirected = answer.status_code == 303 and "token" in request.args
    if not request.path.startswith("/api/v1/") or is_redirected:
        return
    try:
        endpoint, _ = app.url_map.bind("").match(request.path, method=request.method)
    except HTTPException:
        ErrorAnswer.model_validate_json(answer.get_data())
        return
    agreed = contract.of(app.view_functions[endpoint])
    assert agreed is not None, f"{endpoint} has no contract"
    status, content = answer.status_code, answer.get_data()
    if answer.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    if status not in agreed.answers:
        assert status in document.errors_of(agreed), f"{endpoint} answers {status}"
        unknown = list(extras(ErrorAnswer.model_validate_json(content)))
    elif agreed.media == "application/json" and "fields" not in request.args:
        unknown = list(extras(agreed.answers[status].model_validate_json(content)))
    else:
        unknown = []
    assert unknown == [], f"{endpoint} answers with keys that its model lacks"


def extras(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every key that the model of an answer does not have."""
    if isinstance(value, RootModel):
        yield from extras(value.root, path)
    elif isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or ())
        for name in type(value).model_fields:
            yield from extras(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from extras(item, path)

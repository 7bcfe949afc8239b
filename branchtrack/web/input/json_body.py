"""The JSON body of a request, parsed strictly.

It knows no field: `models` validates them. NaN and infinity, which Python accepts in JSON, are
passed on: the validation refuses them by the field's name, and records the refusal.
"""

from __future__ import annotations

import json
from typing import Any

from flask import request

from branchtrack.core import plain_values
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import Refused


def read() -> dict[str, Any]:
    """Return the fields of the body.

    Raises:
        Refused: it is not JSON. InvalidInput: it is not an object, or has a name twice.
    """
    if request.mimetype != "application/json":
        raise _refused(
            "Content-Type",
            415,
            f"The body is {request.mimetype or 'of no type'}, not JSON.",
            "Send it with `Content-Type: application/json`.",
        )
    try:
        body = json.loads(request.get_data().decode(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _refused(
            "body", 400, f"The body is not JSON: {error}.", "Send one JSON object."
        ) from error
    plain_values.check_depth(body, "body")
    if not isinstance(body, dict):
        raise InvalidInput("body", body, "one JSON object")
    return body


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; refuse one that has a name twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(name, fields[name], "one value", what=f"{name!r} is given twice.")
    return fields


def _refused(field: str, status: int, what: str, fix: str) -> Refused:
    return Refused(what, safe="Nothing was changed.", fix=fix, status=status, field=field)

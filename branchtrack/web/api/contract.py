"""What a route of the API takes and answers, in one decorator.

The models that it names validate every request, and the document of the API is made of them
(`document`). Answers are not validated as they go out: tests do that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, jsonify, request
from pydantic import BaseModel

from branchtrack.core import actors
from branchtrack.schemas.bases import Body, Query, Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.input import json_body, models
from branchtrack.web.input.selection import selected

View = Callable[..., Any]
_NAME = "contract"
_WITHOUT_BODY = ("GET", "HEAD")


@dataclass(frozen=True)
class Contract:
    """What a route takes and answers.

    ``answers`` are models by status; None is no JSON. ``deed`` is what its caller has to be allowed
    (`core.actors`); empty for reading. The body of a route that is ``recorded`` is validated where
    it is stored, by the same models, so that refusals are recorded; who may is checked there, too.
    """

    answers: Mapping[int, Any]
    deed: str = ""
    query: type[Query] | None = None
    body: type[BaseModel] | None = None
    recorded: bool = False
    media: str = "application/json"

    @property
    def roles(self) -> list[str]:
        """Return the roles that may call it."""
        return [role for role in actors.ROLES if not self.deed or self.deed in actors.deeds(role)]


def documented(
    answers: Mapping[int, Any] | type[BaseModel], **facts: Any
) -> Callable[[View], View]:
    """Return a decorator for a view; ``facts`` are further fields of its `Contract`.

    The view is called with ``query`` and ``body``, if it has models for them, beside the parts of
    its path, and returns plain values, with a status and headers where these are not usual.
    """
    by_status = answers if isinstance(answers, Mapping) else {200: answers}
    contract = Contract(by_status, **facts)

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def validated(**arguments: Any) -> Any:
            if contract.deed and not contract.recorded:
                actors.check(actor(), contract.deed)
            if contract.query is None:
                models.query(Query)
            else:
                arguments["query"] = models.query(contract.query)
            if contract.body is None and request.method not in _WITHOUT_BODY:
                _refuse_fields()
            elif contract.body is not None:
                fields = json_body.read()
                is_raw = contract.recorded
                arguments["body"] = fields if is_raw else models.validated(contract.body, fields)
            # Before the view: a wrong name is refused whatever the state of what it names.
            names = getattr(arguments.get("query"), "fields", None)
            choose = selected(names, contract.answers[200]) if names else None
            if contract.query is Selection:
                del arguments["query"]
            return _response(view(**arguments), choose)

        setattr(validated, _NAME, contract)
        return validated

    return decorate


def of(view: View) -> Contract | None:
    """Return the contract of a view; None if it has none."""
    found: Contract | None = getattr(view, _NAME, None)
    return found


def _refuse_fields() -> None:
    """Refuse what a route without a body would ignore; an empty object is nothing.

    Raises:
        Refused, InvalidInput: there is a body that is no JSON object, or has fields.
    """
    if request.get_data():
        models.validated(Body, json_body.read())


def _response(result: Any, choose: Callable[[Any], Any] | None) -> Any:
    payload, *rest = result if isinstance(result, tuple) else (result,)
    if isinstance(payload, Response):
        return result
    response = jsonify(payload if choose is None else choose(payload))
    return (response, *rest) if rest else response

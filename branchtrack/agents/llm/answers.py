"""A model's text as a decision; what is none changes nothing."""

from __future__ import annotations

import json
import re
from typing import Any

from branchtrack.agents.llm import secret
from branchtrack.core.agents import decisions
from branchtrack.core.agents.decisions import Decision
from branchtrack.core.plain_values import check
from branchtrack.errors import InvalidInput

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_SHOWN = 200


def read(text: str, key: str = "") -> Decision:
    """Return the decision in an answer: one JSON object, in a code fence or not.

    Text around it is refused, for it may say the opposite. It is read as it came; the decision and
    errors are without the ``key`` of the endpoint.

    Raises:
        InvalidInput: it is no decision.
    """
    fenced = _FENCED.match(text)
    body = fenced.group(1) if fenced else text
    try:
        content = json.loads(body, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise _no_object(text, key) from error
    if not isinstance(content, dict):
        raise _no_object(text, key)
    try:
        # What no record could hold would be carried out in another form than it has.
        check(content, "")
        return _hidden(decisions.read(content), key)
    except InvalidInput as error:
        parts = (error.field, error.value, error.allowed)
        raise InvalidInput(*(secret.hide(part, key) for part in parts)) from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; one with a name twice may mean either of its values.

    Raises:
        InvalidInput: it has a name twice.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        raise InvalidInput("answer", "…", "objects in which each name is there once")
    return content


def _no_object(text: str, key: str) -> InvalidInput:
    return InvalidInput("answer", secret.hide(text, key)[:_SHOWN], "one JSON object")


def _hidden(decision: Decision, key: str) -> Decision:
    """Return a decision as it is carried out, and so recorded."""
    values = decision.model_dump()
    shown = secret.hide(values, key)
    return decision if shown == values else decision.model_copy(update=shown)

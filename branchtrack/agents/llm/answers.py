"""A model's text as a decision; what is none changes nothing."""

from __future__ import annotations

import json
import re

from branchtrack.core.agents import decisions
from branchtrack.core.agents.decisions import Decision
from branchtrack.core.plain_values import check_depth
from branchtrack.errors import InvalidInput

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_SHOWN = 200


def read(text: str) -> Decision:
    """Return the decision in an answer: one JSON object, in a code fence or not.

    Text around it is refused, for it may say the opposite.

    Raises:
        InvalidInput: it is no decision.
    """
    fenced = _FENCED.match(text)
    body = fenced.group(1) if fenced else text
    try:
        content = json.loads(body)
        check_depth(content, "answer")
    except (ValueError, RecursionError) as error:
        raise InvalidInput("answer", text[:_SHOWN], "one JSON object") from error
    if not isinstance(content, dict):
        raise InvalidInput("answer", text[:_SHOWN], "one JSON object")
    return decisions.read(content)

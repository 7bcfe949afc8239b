"""A question to a model with what came of it: a decision or none, and the tokens to charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.agents.llm import answers, secret
from branchtrack.agents.llm.endpoint import Endpoint, EndpointError, Reply
from branchtrack.core.agents.decisions import Decision
from branchtrack.errors import InvalidInput

#: Characters that a token has, where the endpoint does not count.
_CHARACTERS = 4


@dataclass(frozen=True)
class Answer:
    """What came of a question: ``outcome`` is ``answered``, ``malformed`` or ``failed``.

    Nothing of it has the endpoint's key. ``tokens_in`` and ``tokens_out`` are charged, whether it
    is a decision or not.
    """

    text: str
    outcome: str
    tokens_in: int
    tokens_out: int
    error: str | None = None
    decision: Decision | None = None
    retry_after: float | None = None


def ask(endpoint: Endpoint, messages: Sequence[Mapping[str, str]], **parameters: Any) -> Answer:
    """Return what comes of a question; nothing that an endpoint does is raised."""
    length = sum(len(message["content"]) for message in messages)
    try:
        reply = endpoint.ask(messages, **parameters)
    except EndpointError as error:
        tokens = _charged(error, length)
        return Answer(
            error.reply.text, "failed", *tokens, str(error), retry_after=error.retry_after
        )
    tokens, key = _counted(reply, length), secret.key()
    text = secret.hide(reply.text, key)
    try:
        return Answer(text, "answered", *tokens, decision=answers.read(reply.text, key))
    except InvalidInput as error:
        return Answer(text, "malformed", *tokens, str(error))


def _counted(reply: Reply, length: int) -> tuple[int, int]:
    tokens_in = _estimated(length) if reply.tokens_in is None else reply.tokens_in
    tokens_out = _estimated(len(reply.text)) if reply.tokens_out is None else reply.tokens_out
    return tokens_in, tokens_out


def _charged(error: EndpointError, length: int) -> tuple[int, int]:
    """Return the tokens of a question without an answer: providers charge for those too."""
    if not error.is_sent:
        return 0, 0
    tokens_in = max(error.reply.tokens_in or 0, _estimated(length))
    return tokens_in, max(error.reply.tokens_out or 0, _estimated(error.received))


def _estimated(characters: int) -> int:
    return -(-characters // _CHARACTERS)

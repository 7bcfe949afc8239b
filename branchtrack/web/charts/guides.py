"""The steps that an address asks to mark in a chart, such as those of two compared nodes."""

from __future__ import annotations

from flask import request

from branchtrack.errors import InvalidInput

_MOST = 8


def steps_to_mark() -> list[int]:
    """Return the steps given as ``at``.

    Raises:
        InvalidInput: a step is no whole number, or there are more than can be told apart.
    """
    texts = [text.strip().replace(",", "") for text in request.args.getlist("at") if text.strip()]
    for text in texts:
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise InvalidInput("at", text, "a whole number of at least 0")
    if len(texts) > _MOST:
        raise InvalidInput("at", ", ".join(texts), f"at most {_MOST} steps")
    return [int(text) for text in texts]

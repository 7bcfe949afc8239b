"""The key of an endpoint: where it comes from, and hidden in whatever is kept or shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from branchtrack import environment_variables as variables
from branchtrack.errors import InvalidInput

#: Characters that a key has at least. Shorter ones are placeholders of endpoints that want none:
#: to hide each ``lr`` or ``none`` would destroy what is kept.
SHORTEST = 8
_HIDDEN = "…"


def key() -> str:
    """Return the key of the endpoint; empty if none is set.

    Raises:
        InvalidInput: it cannot be sent.
    """
    names = (variables.LLM_KEY_VARIABLE, variables.OPENAI_API_KEY)
    name = next((name for name in names if os.environ.get(name)), "")
    text = os.environ.get(name, "").strip()
    if not text.isascii() or not text.isprintable():
        what = f"{name} has characters that no header can have."
        raise InvalidInput(name, _HIDDEN, "printable ASCII", what=what)
    return text


def hide(value: Any, key: str) -> Any:
    """Return a text or JSON value without a key, however JSON spells it; keys of objects too."""
    if len(key) < SHORTEST:
        return value
    if isinstance(value, str):
        return _pattern(key).sub(_HIDDEN, value)
    if isinstance(value, Mapping):
        return {hide(name, key): hide(each, key) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [hide(each, key) for each in value]
    return value


@lru_cache(maxsize=4)
def _pattern(key: str) -> re.Pattern[str]:
    # A run of backslashes is searched from its beginning alone, and read as one.
    first = r"(?<!\\)" if key.startswith("\\") else ""
    spellings = "".join(map(_spellings, re.sub(r"\\+", r"\\", key)))
    return re.compile(f"{re.escape(key)}|{first}{spellings}")


def _spellings(character: str) -> str:
    """Return a pattern of a character as it is, escaped, or as its number in any case."""
    digits = f"{ord(character):04x}"
    number = "u" + "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)
    if character == "\\":
        return rf"(?:\\{{1,8}}{number}|\\(?!u))++"
    return rf"(?:\\{{0,8}}{re.escape(character)}|\\{{1,8}}{number})"

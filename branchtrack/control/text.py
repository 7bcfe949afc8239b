"""Free text and payloads from users, brought into a form that can be stored."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from typing import Any

from branchtrack.core.names import storable
from branchtrack.core.nonfinite import spelled
from branchtrack.core.plain_values import cleaned
from branchtrack.errors import InvalidInput

#: Characters of a payload that are stored as requested; a message alone may have 2,000.
_LONGEST = 4000


def local_actor() -> str:
    """Return the operating-system user as an actor."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"


def clean_text(field: str, text: str, limit: int = 2000) -> str:
    """Return free text as it can be stored: trimmed, without halves of surrogate pairs.

    Raises:
        InvalidInput: it is no text, has a NUL character, or more than ``limit`` characters.
    """
    if not isinstance(text, str):
        raise InvalidInput(field, text, "text")
    if "\0" in text:
        # PostgreSQL cannot store it, and text without it is not what was written.
        raise InvalidInput(field, text, "text without NUL characters")
    cleaned = storable(text).strip()
    if len(cleaned) > limit:
        raise InvalidInput(field, cleaned, f"at most {limit} characters")
    return cleaned


def shortened(payload: Mapping[str, Any], longest: int = _LONGEST) -> dict[str, Any]:
    """Return a payload as requested, cut to a size that can be stored."""
    clean: dict[str, Any] = cleaned(payload)
    text = json.dumps(spelled(clean), default=str)
    return clean if len(text) <= longest else {"cut": text[:longest]}

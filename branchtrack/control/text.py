"""What people send, brought into a form that records can bear."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from typing import Any

from branchtrack.core.names import storable
from branchtrack.core.nonfinite import spelled
from branchtrack.core.plain_values import cleaned
from branchtrack.errors import InvalidInput

#: Characters of a payload that are kept as it was asked; a message alone may have 2,000.
_LONGEST = 4000


def local_actor() -> str:
    """The operating-system user, as an actor."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"


def clean_text(field: str, text: str, limit: int = 2000) -> str:
    """Free text that can be stored: trimmed, no NUL, at most ``limit`` characters."""
    if not isinstance(text, str):
        raise InvalidInput(field, text, "text")
    cleaned = storable(text).strip()
    if len(cleaned) > limit:
        raise InvalidInput(field, cleaned, f"at most {limit} characters")
    return cleaned


def shortened(payload: Mapping[str, Any], longest: int = _LONGEST) -> dict[str, Any]:
    """A payload as asked, cut to what a record can bear where somebody sent very much."""
    clean: dict[str, Any] = cleaned(payload)
    text = json.dumps(spelled(clean), default=str)
    return clean if len(text) <= longest else {"cut": text[:longest]}

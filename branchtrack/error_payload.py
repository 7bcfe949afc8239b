"""An error as JSON: the common form for the shell, the API and previews."""

from __future__ import annotations

from typing import Any

from branchtrack.errors import BranchtrackError


def error_payload(error: BranchtrackError) -> dict[str, Any]:
    """Return ``type what safe fix field facts``; ``field`` is None if no field is at fault."""
    facts = jsonable(error.facts)
    return {
        "type": type(error).__name__,
        "what": error.what,
        "safe": error.safe,
        "fix": error.fix,
        "field": facts.get("field"),
        "facts": facts,
    }


def jsonable(value: Any) -> Any:
    """Return ``value`` with everything that JSON lacks spelled as text."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)

"""Values from outside in a form that records can hold: storable text, numbers, limited depth.

Requests are checked and refused; what is kept of a refusal is cleaned. It knows no request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from branchtrack.core.names import storable
from branchtrack.errors import InvalidInput

#: Depth of nested lists and objects. Code that walks through them recurses once for each level.
DEEPEST = 20
#: The whole numbers that databases hold.
LARGEST = 2**63 - 1
_TEXT = "text without NUL characters and halves of surrogate pairs"


def check(value: Any, field: str) -> None:
    """Refuse what no record could hold, anywhere in a JSON value.

    Raises:
        InvalidInput: it is nested too deep, or has such a text, key or number; the error's field is
            the path to it.
    """
    check_depth(value, field)
    for path, _depth, each in _walked(value, field):
        if isinstance(each, str) and storable(each) != each:
            raise InvalidInput(path, each, _TEXT)
        if isinstance(each, int) and abs(each) > LARGEST:
            raise InvalidInput(path, "…", f"whole numbers from -{LARGEST} to {LARGEST}")


def check_depth(value: Any, field: str) -> None:
    """Refuse what is nested so deep that walking through it could fail.

    Raises:
        InvalidInput: with the field.
    """
    if any(depth > DEEPEST for _path, depth, _each in _walked(value, field)):
        raise InvalidInput(field or "body", "…", f"at most {DEEPEST} nested lists and objects")


def cleaned(value: Any, depth: int = 0) -> Any:
    """Return a JSON value as a record keeps it; what `check` refuses is replaced."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of more than 64 bits"
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {storable(str(key)): cleaned(each, depth + 1) for key, each in value.items()}
    return [cleaned(each, depth + 1) for each in value]


def _walked(value: Any, field: str) -> Iterator[tuple[str, int, Any]]:
    """Yield each value within a value with its path and depth; keys count as values too."""
    waiting = [(field, 0, value)]
    while waiting:
        path, depth, each = waiting.pop()
        yield path, depth, each
        if depth > DEEPEST:
            continue
        if isinstance(each, Mapping):
            for key, item in each.items():
                yield path, depth, key
                waiting.append((f"{path}.{key}" if path else str(key), depth + 1, item))
        elif isinstance(each, (list, tuple)):
            waiting += [(path, depth + 1, item) for item in each]

"""Values from outside as records can bear them: text that databases hold, numbers, little depth.

What is asked for is checked and refused; what is kept of a refusal is cleaned. It knows no request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from branchtrack.core.names import storable
from branchtrack.errors import InvalidInput

#: Lists and objects within each other. Whoever walks through them calls itself once for each.
DEEPEST = 20
#: The whole numbers that databases hold.
LARGEST = 2**63 - 1
_TEXT = "text without NUL characters and halves of surrogate pairs"


def check(value: Any, field: str) -> None:
    """Refuse what no record could bear, anywhere in a value of JSON.

    Raises:
        InvalidInput: it is nested too deep, or has a text, a key or a number of that kind; the
            error's field is the path to it.
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
        raise InvalidInput(
            field or "body", "…", f"at most {DEEPEST} lists and objects within each other"
        )


def cleaned(value: Any, depth: int = 0) -> Any:
    """A value of JSON as a record keeps it; what `check` refuses is replaced."""
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
    """Each value within a value with the path to it and its depth; keys are values of their own."""
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

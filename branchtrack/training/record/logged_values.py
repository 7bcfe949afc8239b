"""What a script logs as numbers: nested values flattened, and non-numbers separated.

It knows no run and no database.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from branchtrack.core.names import LONGEST_METRIC, storable

#: Depth of nested mappings, so that one that contains itself ends.
_DEEPEST = 16


#: How many names of non-numbers are reported; a script may use a new one at each update.
_MOST = 100


class Refusals:
    """Values that a script has logged and that are not numbers; each is reported once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def fresh(self, refused: Mapping[str, str]) -> dict[str, str]:
        """Return those of ``refused`` not reported before, with a note when the limit is hit."""
        if self._told.issuperset(refused) or len(self._told) >= _MOST:
            return {}
        reasons = {name: why for name, why in refused.items() if name not in self._told}
        self._told.update(reasons)
        if len(self._told) >= _MOST:
            reasons["…"] = f"{_MOST} names are reported; more are not"
        return reasons


def numbers(values: Mapping[Any, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the numbers among some values by name, and why each of the others is not one.

    Numbers of any library and truth values are accepted, and tensors and arrays of one element;
    values in a mapping are named ``outer/inner``.
    """
    accepted: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, value in _flat(values, "", 0):
        if len(name) > LONGEST_METRIC:
            refused[f"{name[:40]}…"] = f"its name is longer than {LONGEST_METRIC} characters"
            continue
        if not storable(name):
            refused['""'] = "its name is empty"
            continue
        try:
            accepted[storable(name)] = _number(value)
        except Exception as error:
            # An error in a value's own class must not end a training.
            refused[storable(name)] = str(error) or type(error).__name__
    return accepted, refused


def _flat(values: Mapping[Any, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{above}/{name}" if above else str(name)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _flat(value, path, depth + 1)
        else:
            yield path, value


def _number(value: Any) -> float:
    """Return a value as a float.

    Raises:
        TypeError, ValueError, OverflowError: it is not one number, or exceeds a float's range.
    """
    shape, item = getattr(value, "shape", None), getattr(value, "item", None)
    if shape is not None and callable(item):
        if math.prod(shape) != 1:
            raise TypeError(f"it has {math.prod(shape)} elements")
        value = item()
    kind = type(value)
    if isinstance(value, (str, bytes, bytearray)) or not (
        hasattr(kind, "__float__") or hasattr(kind, "__index__")
    ):
        raise TypeError(f"a {kind.__name__} is not a number")
    number = float(value)
    if math.isinf(number) and value != number:
        raise OverflowError("it is too large for a float")
    return number

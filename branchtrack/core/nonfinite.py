"""NaN and the infinities, for which JSON has no numbers: their forms for readers and in columns.

Readers get the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. In a JSON column they are
objects with one key, so that a number is read back as a number and a text stays a text.
"""

from __future__ import annotations

import math
from typing import Any

_KEY = "$float"
_VALUES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def is_nonfinite(value: Any) -> bool:
    """Return whether a value is a float that JSON has no number for."""
    return isinstance(value, float) and not math.isfinite(value)


def name_of(value: float) -> str:
    """Return ``NaN``, ``Infinity`` or ``-Infinity``."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def spelled(value: Any) -> Any:
    """Return a value as JSON for readers: keys are text, and non-finite numbers are names."""
    if is_nonfinite(value):
        return name_of(value)
    if isinstance(value, dict):
        return {str(key): spelled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        # Curves: long, and of numbers alone.
        kinds = set(map(type, value))
        if kinds == {int} or (kinds == {float} and all(map(math.isfinite, value))):
            return list(value)
        return [spelled(item) for item in value]
    return value


def packed(value: Any) -> Any:
    """Return a value as a JSON column keeps it; `unpacked` restores the numbers."""
    if is_nonfinite(value):
        return {_KEY: name_of(value)}
    if isinstance(value, dict):
        return {str(key): packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(item) for item in value]
    return value


def unpacked(value: dict[str, Any]) -> Any:
    """Convert an object read from a JSON column; an ``object_hook`` for `json.loads`."""
    if len(value) == 1 and isinstance(value.get(_KEY), str):
        return _VALUES.get(value[_KEY], value)
    return value


def metric(value: float | str | None) -> float | None:
    """Return a metric of a node as a number; earlier versions kept ``nan`` and ``inf`` as text."""
    return float(value) if isinstance(value, str) else value

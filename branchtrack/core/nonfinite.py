"""NaN and the infinities, for which JSON has no numbers: as readers are told, as columns keep them.

Told, they are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. In a JSON column they are
objects with one key, so that what was a number is read back as one and a text stays a text.
"""

from __future__ import annotations

import math
from typing import Any

_KEY = "$float"
_VALUES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def is_nonfinite(value: Any) -> bool:
    """Whether a value is a float that JSON has no number for."""
    return isinstance(value, float) and not math.isfinite(value)


def name_of(value: float) -> str:
    """``NaN``, ``Infinity`` or ``-Infinity``."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def spelled(value: Any) -> Any:
    """A value as JSON for readers: keys are text, and what is no number in JSON is its name."""
    if is_nonfinite(value):
        return name_of(value)
    if isinstance(value, dict):
        return {str(key): spelled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [spelled(item) for item in value]
    return value


def packed(value: Any) -> Any:
    """A value as a JSON column keeps it; `unpacked` gives the numbers back."""
    if is_nonfinite(value):
        return {_KEY: name_of(value)}
    if isinstance(value, dict):
        return {str(key): packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(item) for item in value]
    return value


def unpacked(value: dict[str, Any]) -> Any:
    """One object read from a JSON column, as ``object_hook`` of `json.loads` gives it."""
    if len(value) == 1 and isinstance(value.get(_KEY), str):
        return _VALUES.get(value[_KEY], value)
    return value


def metric(value: float | str | None) -> float | None:
    """A metric of a node as a number; earlier versions kept ``nan`` and ``inf`` as text."""
    return float(value) if isinstance(value, str) else value

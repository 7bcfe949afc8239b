"""Single values that JSON would change, as tagged JSON that restores them exactly.

These are numpy's numbers with their dtype, complex and exact numbers, bytes and members of enums.
Reading one imports and runs nothing: an enum is looked up in the modules that are loaded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from branchtrack.errors import CheckpointMismatch

TAG = "$"
#: The dtypes of numpy whose bytes say all: numbers, truth values, texts, times.
_OWN = "?bBhHiIlLqQefdgFDGSUmM"
_PLAIN = (bool, int, float, str)


def encode(value: Any) -> Any:
    """Return ``value`` as JSON if it is such a value, or one that JSON has; else None.

    None itself is encoded as None, too.
    """
    if isinstance(value, np.generic):
        coded = {"dtype": value.dtype.str, "bytes": value.tobytes().hex()}
        return {TAG: "scalar", **coded} if value.dtype.char in _OWN else None
    if isinstance(value, Enum):
        return _of_enum(value)
    kind = type(value)
    if kind is float and not math.isfinite(value):
        return {TAG: "float", "text": repr(value)}
    if kind in _PLAIN:
        return value
    if kind is complex:
        return {TAG: "complex", "text": repr(value)}
    if kind in (Decimal, Fraction):
        return {TAG: kind.__name__.lower(), "text": str(value)}
    if kind in (bytes, bytearray):
        return {TAG: kind.__name__, "text": value.hex()}
    return None


def decode(value: dict[str, Any]) -> Any:
    """Return the value that `encode` was given.

    Raises:
        CheckpointMismatch: this process does not have the enum, or that member of it.
    """
    kind = value[TAG]
    if kind == "scalar":
        return np.frombuffer(bytes.fromhex(value["bytes"]), dtype=value["dtype"])[0]
    if kind == "enum":
        return _enum(value)
    return _READERS[kind](value["text"])


def is_known(kind: str) -> bool:
    """Return whether `decode` reads values of that tag."""
    return kind in ("scalar", "enum") or kind in _READERS


_READERS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "complex": complex,
    "decimal": Decimal,
    "fraction": Fraction,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
}


def _of_enum(value: Enum) -> dict[str, Any] | None:
    kind = type(value)
    coded = {TAG: "enum", "module": kind.__module__, "class": kind.__qualname__}
    coded["member"] = value.name or ""
    return coded if _find(coded) is value else None


def _enum(coded: dict[str, Any]) -> Any:
    member = _find(coded)
    if member is None:
        name = f"{coded['module']}.{coded['class']}.{coded['member']}"
        raise CheckpointMismatch(
            f"The node's state has {name}, which is no enum of the script any more.",
            safe="No training was done.",
            fix="Import it before the run is started, as the script that made the node did.",
            field=name,
            expected=name,
            found=None,
        )
    return member


def _find(coded: dict[str, Any]) -> Any:
    """Return the member that ``coded`` names, or None."""
    kind: Any = sys.modules.get(coded["module"])
    for name in coded["class"].split("."):
        kind = getattr(kind, name, None)
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    return kind.__members__.get(coded["member"]) if is_enum else None

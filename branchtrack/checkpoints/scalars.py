"""Single values that JSON would make into others, as tagged JSON that gives them back.

Numbers of numpy with their dtype, complex and exact numbers, bytes, members of enums. Nothing is
imported and nothing is run to read one: an enum is looked for among the modules that are loaded.
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
#: Of numpy's own dtypes those whose bytes say all: numbers, truth values, texts, moments.
_OWN = "?bBhHiIlLqQefdgFDGSUmM"
_PLAIN = (bool, int, float, str)


def encode(value: Any) -> Any:
    """``value`` as JSON where it is one such value, or one that JSON has; None: it is neither.

    None itself comes as None, too.
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
    """What `encode` was given.

    Raises:
        CheckpointMismatch: an enum that this process does not have, or not with that member.
    """
    kind = value[TAG]
    if kind == "scalar":
        return np.frombuffer(bytes.fromhex(value["bytes"]), dtype=value["dtype"])[0]
    if kind == "enum":
        return _enum(value)
    return _READERS[kind](value["text"])


def known(kind: str) -> bool:
    """Whether `decode` reads values of that tag."""
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
            f"The node's state has {name}, and the script has no such enum by now.",
            safe="No training was done.",
            fix="Import it before the run is started, as the script that made the node did.",
            field=name,
            expected=name,
            found=None,
        )
    return member


def _find(coded: dict[str, Any]) -> Any:
    """The member that ``coded`` names, or None."""
    kind: Any = sys.modules.get(coded["module"])
    for name in coded["class"].split("."):
        kind = getattr(kind, name, None)
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    return kind.__members__.get(coded["member"]) if is_enum else None

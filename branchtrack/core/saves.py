"""The saves requested by a script's own cadence: how many were due, made and not made.

Plain values only, as the column ``segments.saves`` holds them: ``due``, ``made``, and the steps
``missed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def summed(counts: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return the counts of several segments together; None if none of them counted."""
    counted = [count for count in counts if count]
    if not counted:
        return None
    steps = sorted({step for count in counted for step in count["missed"]})
    return {
        "due": sum(count["due"] for count in counted),
        "made": sum(count["made"] for count in counted),
        "missed": steps,
    }


def words(count: Mapping[str, Any] | None) -> str:
    """Return ``3 of 40 saves were not made``; empty if all were, or may still be."""
    if not count or not count["missed"]:
        return ""
    # Those in progress are neither made nor missed.
    missed = len(count["missed"])
    return f"{missed} of {count['due']} saves {'was' if missed == 1 else 'were'} not made"

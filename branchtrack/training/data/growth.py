"""Where a training continues in data to which rows were added since its node was created.

It knows no loader and no node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The name of the number of rows in a script's record.
LENGTH = "dataset_length"


def place(stored: Mapping[str, Any], in_order: int) -> dict[str, Any]:
    """Convert a stored position in the earlier data into one in the present data.

    ``in_order`` is the number of rows if they are read in the order they are stored, else 0. Then
    the pass continues after the samples it had; any other order is drawn anew, so the next pass
    begins instead.
    """
    if not stored["batches"] or stored.get("samples", in_order) < in_order:
        return dict(stored)
    fresh = {"epoch": stored["epoch"] + 1, "batches": 0, "samples": 0, "order": None, "ahead": None}
    return {**stored, **{name: value for name, value in fresh.items() if name in stored}}


def place_words(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Describe for the record what happened to the position."""
    if now["epoch"] == before["epoch"]:
        return "restored, in changed data"
    return "the next pass begins: the data has changed"

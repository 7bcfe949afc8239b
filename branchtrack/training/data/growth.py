"""Where a training goes on in data that has changed since its node was made: rows were added.

It knows no loader and no node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What a script's record calls the number of rows.
LENGTH = "dataset_length"


def place(stored: Mapping[str, Any], in_order: int) -> dict[str, Any]:
    """A stored place in the data of before as one in those of now.

    ``in_order`` is the number of rows where they come as they lie there, else 0. Then the pass goes
    on behind the samples it had; another order is a new one, so that the next pass begins instead.
    """
    if not stored["batches"] or stored.get("samples", in_order) < in_order:
        return dict(stored)
    fresh = {"epoch": stored["epoch"] + 1, "batches": 0, "samples": 0, "order": None, "ahead": None}
    return {**stored, **{name: value for name, value in fresh.items() if name in stored}}


def place_words(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """What became of the place, for the record."""
    if now["epoch"] == before["epoch"]:
        return "restored, in changed data"
    return "the next pass begins: the data has changed"

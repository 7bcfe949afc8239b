"""How people read the changes that are tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core import formats
from branchtrack.core.builtin_settings import SEED
from branchtrack.core.records import Node

#: Settings by which the pairs of a trial differ, and end.
OF_TRIALS = (SEED.name, "reshuffle", "stop_at")


def of_settings(settings: Mapping[str, Any]) -> str:
    """Return settings as ``lr=x0.9 weight_decay=0``."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def of_node(node: Node) -> str:
    """Return what a node changed, as ``lr 0.001 -> 0.0003``; its kind if it changed nothing."""
    listed = [change for change in node.changes if change.name not in OF_TRIALS]
    words = [formats.change_words(c.name, c.before, c.after) for c in listed]
    return ", ".join(words) or node.kind

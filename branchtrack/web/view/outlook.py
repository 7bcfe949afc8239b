"""What an order would cost, estimated from the branch that it starts from, and quick orders.

It works on what was read; it makes no query and writes no markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from branchtrack.core import formats
from branchtrack.core.forks.relative_values import FACTORS, is_rate, resolved
from branchtrack.core.settings import Setting
from branchtrack.db.views.nearby.launch_outlook import Outlook
from branchtrack.errors import InvalidInput


@dataclass(frozen=True)
class Quick:
    """A button that orders a branch with one setting changed by a factor: ``lr=x0.5``."""

    name: str
    factor: str
    before: str
    after: str


def estimate(outlook: Outlook, steps: int | None) -> str:
    """Return in words what so many updates take; empty if that is not known."""
    if not steps or not outlook.steps:
        return ""
    words = []
    if outlook.seconds:
        seconds = steps * outlook.seconds / outlook.steps
        words.append(formats.duration(seconds) if seconds >= 1 else "a second")
    if outlook.stored_bytes:
        nbytes = steps * outlook.stored_bytes / outlook.steps
        words.append(f"{formats.size(int(nbytes))} on disk")
    return "about " + " and ".join(words) if words else ""


def steps_left(outlook: Outlook, settings: Mapping[str, Any], step: int) -> int | None:
    """Return the updates from a node's ``step`` to the end that its settings or process name."""
    last = settings.get("max_steps")
    last = outlook.max_steps if not isinstance(last, int) else last
    return None if last is None or last <= step else last - step


def quick_orders(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> list[Quick]:
    """Return the quick orders for a node: factors of its first rate, with what they make of it."""
    rates = [name for name, setting in settings.items() if is_rate(setting)]
    orders = []
    for name in rates[:1]:
        before = formats.setting(values.get(name))
        for factor in FACTORS:
            # One that is not allowed, or of no number, is not offered.
            with suppress(InvalidInput):
                after = resolved({name: factor}, settings, values)[name]
                orders.append(Quick(name, factor, before, formats.setting(after)))
    return orders

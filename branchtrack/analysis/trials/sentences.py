"""Lines of a run's log about trials, as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from branchtrack.core import formats
from branchtrack.core.records import Event
from branchtrack.core.trials.judging import WORDS


def of_event(event: Event) -> str:
    """Return what a line says: ``lr=x0.9 by loss: helps, −0.005 (−0.006 to −0.004), 8 pairs``.

    A trial that begins says what it tries, and from where.
    """
    facts = event.payload
    changes: Sequence[str] = facts.get("changes") or ()
    verdicts: Sequence[Mapping[str, Any] | None] = facts.get("verdicts") or ()
    if not verdicts:
        steps = formats.plural(facts.get("steps") or 0, "update")
        nodes = ", ".join(formats.short(node) for node in facts.get("nodes") or ())
        verb = "tries" if event.state == "created" else f"{event.state}:"
        return f"{verb} {'; '.join(changes)} by {facts.get('metric')} after {steps}, from {nodes}"
    said = [_said(label, verdict) for label, verdict in zip(changes, verdicts, strict=False)]
    count = formats.plural(facts.get("pairs") or 0, "pair")
    return f"by {facts.get('metric')}: {'; '.join(said)}; {count}"


def _said(label: str, verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return f"{label} has no verdict yet"
    words = f"{label} {WORDS.get(verdict['verdict'], verdict['verdict'])}"
    if verdict["effect"] is None:
        return words
    words = f"{words}, {formats.delta(verdict['effect'])}"
    if verdict["low"] is None:
        return words
    return f"{words} ({formats.delta(verdict['low'])} to {formats.delta(verdict['high'])})"

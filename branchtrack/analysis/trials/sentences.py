"""Lines of a run's log about trials, as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from branchtrack.core import formats
from branchtrack.core.records import Event
from branchtrack.core.trials.judging import WORDS


def of_event(event: Event) -> str:
    """Return what a line says: ``lr=x0.9: helps, −0.0051 (−0.0062 to −0.0040), 8 pairs by loss``.

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
    return f"{'; '.join(said)}, {count} by {facts.get('metric')}"


def effect_words(effect: float | None, low: float | None, high: float | None) -> str:
    """Return an effect with its interval, as far as they are known: ``−0.0051 (−0.0062 to 0)``."""
    if effect is None:
        return ""
    words = formats.deltas([effect, low, high])
    if low is None or high is None:
        return words[0]
    return f"{words[0]} ({words[1]} to {words[2]})"


def _said(label: str, verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return f"{label}: no verdict yet"
    effect = effect_words(verdict["effect"], verdict["low"], verdict["high"])
    words = WORDS.get(verdict["verdict"], verdict["verdict"])
    return f"{label}: {words}, {effect}" if effect else f"{label}: {words}"

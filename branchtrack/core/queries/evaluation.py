"""Whether a query holds of a node: true, false, or unknown where a value is missing.

A missing value is never an error: a comparison with it is unknown, and what is unknown matches
nothing, also under ``not``. Numbers compare with numbers only, texts with texts; NaN is different
from everything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from branchtrack.core.lifecycle import CRASHED
from branchtrack.core.nonfinite import metric
from branchtrack.core.queries.language import moment, stretch
from branchtrack.core.queries.terms import (
    And,
    Comparison,
    Curve,
    Filter,
    Name,
    Not,
    Term,
    Words,
)

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Facts:
    """What is known of a node; what is None, or missing in a mapping, is unknown.

    ``texts`` has ``run branch kind status actor group archived``. ``tags`` are those of node,
    branch and run, all of them if ``all_tags``. ``now`` is the time that ``since:7d`` counts from.
    """

    now: float
    texts: Mapping[str, str | None] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    all_tags: bool = True
    step: int | None = None
    created_at: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[Curve, float] = field(default_factory=dict)


def holds(term: Term, facts: Facts) -> bool | None:
    """Return whether a query holds; None if that depends on what is unknown."""
    if isinstance(term, Comparison):
        return _compared(term, facts)
    if isinstance(term, Filter):
        return _filtered(term, facts)
    if isinstance(term, Words):
        return _has_words(term, facts)
    if isinstance(term, Not):
        inner = holds(term.term, facts)
        return None if inner is None else not inner
    parts = (holds(part, facts) for part in term.terms)
    return _all(parts) if isinstance(term, And) else _any(parts)


def value_of(name: Name, facts: Facts) -> Any:
    """Return the setting or metric of that name; None if there is none."""
    if name.scope != "metric":
        value = lookup(facts.settings, name.text)
        if value is not None or name.scope == "setting":
            return value
    return metric(facts.metrics.get(name.text, _builtin(name.text, facts)))


def lookup(values: Mapping[str, Any], name: str) -> Any:
    """Return a value by its name, or by a path through values that have names themselves."""
    if name in values:
        return values[name]
    first, dot, rest = name, "", ""
    while "." in first:
        first, _, end = first.rpartition(".")
        rest = f"{end}{dot}{rest}"
        dot = "."
        inner = values.get(first)
        if isinstance(inner, Mapping):
            return lookup(inner, rest)
    return None


def fits(value: str, text: str) -> bool:
    """Return whether a text is what a filter asks for; ``*`` stands for anything."""
    first, *others = value.split("*")
    if not others:
        return value == text
    *middle, last = others
    # Not as a regular expression: with many stars that would take for ever.
    position, end = len(first), len(text) - len(last)
    if not (text.startswith(first) and text.endswith(last) and position <= end):
        return False
    for part in middle:
        position = text.find(part, position, end) + len(part)
        if position < len(part):
            return False
    return True


def kind_of(value: Any) -> type | None:
    """Return in which way a value compares, None if in none."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, (int, float)):
        return float
    return str if isinstance(value, str) else None


def _builtin(name: str, facts: Facts) -> int | None:
    return facts.step if name == "step" else None


def _all(parts: Iterable[bool | None]) -> bool | None:
    result: bool | None = True
    for part in parts:
        if part is False:
            return False
        result = None if part is None else result
    return result


def _any(parts: Iterable[bool | None]) -> bool | None:
    result: bool | None = False
    for part in parts:
        if part is True:
            return True
        result = None if part is None else result
    return result


def _compared(term: Comparison, facts: Facts) -> bool | None:
    if isinstance(term.subject, Curve):
        value: Any = facts.curves.get(term.subject)
    else:
        value = value_of(term.subject, facts)
    if value is None or kind_of(value) is not kind_of(term.literal):
        return None
    if isinstance(value, bool) and term.operator not in ("=", "!="):
        return None
    return COMPARE[term.operator](value, term.literal)


def _has_words(term: Words, facts: Facts) -> bool | None:
    texts = (facts.texts.get("run"), facts.texts.get("notes"), *facts.tags)
    known = [text.lower() for text in texts if text is not None]
    return any(term.text.lower() in text for text in known)


def _filtered(term: Filter, facts: Facts) -> bool | None:
    word, value = term.word, term.value
    if word == "tag":
        return _any(fits(value, tag) for tag in facts.tags) or (False if facts.all_tags else None)
    if word == "step":
        first, last = stretch(value) or (0, -1)
        return None if facts.step is None else first <= facts.step <= last
    if word == "since":
        begin, created_at = moment(value, facts.now), facts.created_at
        return None if begin is None or created_at is None else created_at >= begin
    if word == "failed":
        status = facts.texts.get("status")
        return None if status is None else (status in CRASHED) is (value == "yes")
    if word == "name":
        names = [facts.texts.get(key) for key in ("run", "branch")]
        return _any(None if name is None else value.lower() in name.lower() for name in names)
    text = facts.texts.get(word)
    return None if text is None else fits(value, text)

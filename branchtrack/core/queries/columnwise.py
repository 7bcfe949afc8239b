"""Whether a query holds of many rows at once, as `evaluation.holds` says it of one.

A term is evaluated over whole columns: a list comprehension for each takes a tenth of the time that
ten thousand calls do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Protocol

from branchtrack.core.queries.evaluation import COMPARE
from branchtrack.core.queries.terms import (
    And,
    Comparison,
    Curve,
    Filter,
    Literal,
    Name,
    Not,
    Term,
    Words,
)

#: True, false, or None where that depends on what is unknown, for each row.
Answers = list[bool | None]


class Columns(Protocol):
    """What is known of the rows: each method returns one entry for each of them."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def values(self, subject: Name | Curve) -> Sequence[Any]:
        """Return the values of a setting, a metric or a curve; None is unknown."""
        ...

    def filtered(self, term: Filter) -> Answers:
        """Return of which rows a filter holds."""
        ...

    def containing(self, term: Words) -> Answers:
        """Return which rows have a text."""
        ...


def holds(term: Term, columns: Columns) -> Answers:
    """Return of which rows a query holds."""
    if isinstance(term, Comparison):
        return _compared(columns.values(term.subject), term.operator, term.literal)
    if isinstance(term, Filter):
        return columns.filtered(term)
    if isinstance(term, Words):
        return columns.containing(term)
    if isinstance(term, Not):
        return [None if held is None else not held for held in holds(term.term, columns)]
    parts = [holds(part, columns) for part in term.terms]
    if not parts:
        return [isinstance(term, And)] * len(columns)
    return reduce(_both if isinstance(term, And) else _either, parts)


def _both(left: Answers, right: Answers) -> Answers:
    # `a and b` is b if a is true, false if a is false; what is unknown stays so, or is false.
    return [
        b if a else (a if a is False or b is not False else False)
        for a, b in zip(left, right, strict=True)
    ]


def _either(left: Answers, right: Answers) -> Answers:
    return [
        True if a or b else (None if a is None or b is None else False)
        for a, b in zip(left, right, strict=True)
    ]


def _compared(values: Sequence[Any], operator: str, literal: Literal) -> Answers:
    compare = COMPARE[operator]
    if isinstance(literal, bool):
        is_equality = operator in ("=", "!=")
        return [
            compare(value, literal) if is_equality and type(value) is bool else None
            for value in values
        ]
    if isinstance(literal, str):
        return [compare(value, literal) if isinstance(value, str) else None for value in values]
    return _NUMERIC[operator](values, literal)


# Written out, because a call for each value would take longer than all the rest.
_NUMBERS = frozenset((float, int))
_NUMERIC: dict[str, Callable[[Sequence[Any], float], Answers]] = {
    "<": lambda values, x: [v < x if type(v) in _NUMBERS else None for v in values],
    "<=": lambda values, x: [v <= x if type(v) in _NUMBERS else None for v in values],
    ">": lambda values, x: [v > x if type(v) in _NUMBERS else None for v in values],
    ">=": lambda values, x: [v >= x if type(v) in _NUMBERS else None for v in values],
    "=": lambda values, x: [v == x if type(v) in _NUMBERS else None for v in values],
    "!=": lambda values, x: [v != x if type(v) in _NUMBERS else None for v in values],
}

"""Decisions about the run tree from values alone: lineage, lanes.

The rule of steps: the parent owns points with step <= N, the child owns points with step > N.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """The part of a segment that belongs to a branch's curve: ``after < step <= upto``."""

    segment: str
    after: int
    upto: int | None


def lineage(segment: str, start: Callable[[str], tuple[str, int] | None]) -> list[Span]:
    """Return the spans that make up the curve ending in ``segment``, oldest first.

    ``start(segment)`` returns the parent segment and the step at which ``segment`` starts, or None
    for a root. An ancestor's cut is never above the cut of the one below it, so that a fork of a
    fork taken earlier than the fork's own start loses nothing and doubles nothing.
    """
    spans: list[Span] = []
    upto: int | None = None
    seen: set[str] = set()
    current: str | None = segment
    while current is not None and current not in seen:
        seen.add(current)
        origin = start(current)
        after = -1 if origin is None else origin[1]
        if upto is None or upto > after:
            spans.append(Span(current, after, upto))
            upto = after if origin is not None else upto
        current = None if origin is None else origin[0]
    return spans[::-1]


@dataclass(frozen=True)
class Row:
    """One line of a git-like log: the node's lane, and what to draw in the gutter.

    ``through`` are lanes that pass by; ``joins`` are lanes of children that end in this node;
    ``starts`` says that nothing above continues the node's lane; ``ends`` that it has no parent.
    """

    node: str
    lane: int
    through: tuple[int, ...]
    joins: tuple[int, ...]
    starts: bool
    ends: bool


def lanes(nodes: Sequence[tuple[str, str | None]]) -> list[Row]:
    """Lay out nodes (id, parent) given newest first, every child before its parent.

    Walks with a list of lanes, each waiting for a parent; a node takes the leftmost lane waiting
    for it and the others waiting for it join there. O(nodes x lanes).
    """
    waiting: list[str | None] = []
    rows: list[Row] = []
    for node, parent in nodes:
        matching = [lane for lane, awaited in enumerate(waiting) if awaited == node]
        lane = matching[0] if matching else _free(waiting)
        for other in matching[1:]:
            waiting[other] = None
        through = tuple(
            other for other, awaited in enumerate(waiting) if awaited is not None and other != lane
        )
        waiting[lane] = parent
        rows.append(Row(node, lane, through, tuple(matching[1:]), not matching, parent is None))
    return rows


def _free(waiting: list[str | None]) -> int:
    if None in waiting:
        return waiting.index(None)
    waiting.append(None)
    return len(waiting) - 1

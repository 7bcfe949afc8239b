"""Runs that a query matches, sorted and grouped, page by page, with the values of columns.

It only reads. What lies in the trash is not found; what is archived is if the query says so, or
searches for words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from sqlalchemy import Connection, select

from branchtrack.core.queries import columnwise, terms
from branchtrack.core.queries.columns import (
    Column,
    Fact,
    Sort,
    parse_columns,
    parse_group,
    parse_sort,
)
from branchtrack.core.queries.language import parse
from branchtrack.core.queries.terms import And, Comparison, Curve, Filter, Name, Term, Words
from branchtrack.db.browsing import run_index, run_records
from branchtrack.db.browsing.run_columns import STATES, RunColumns
from branchtrack.db.browsing.run_index import RunIndex
from branchtrack.db.browsing.run_records import RunRecord
from branchtrack.db.browsing.saved_views import SavedView
from branchtrack.db.browsing.tables import metric_summaries

_NUMBERS = frozenset((float, int, bool))
#: How runs are listed as long as nobody has said otherwise: the latest changed first.
LATEST = Sort(Fact("updated"), descending=True)


@dataclass(frozen=True)
class Selection:
    """Which runs in which order, with the values of which columns."""

    query: Term = And(())
    sort: Sort = LATEST
    by: Column | None = None
    columns: tuple[Column, ...] = ()
    archived: bool = False


@dataclass(frozen=True)
class RunMatch:
    """A run, its values of the columns, and the group that it is in."""

    run: RunRecord
    values: dict[Column, Any]
    group: Any = None


@dataclass(frozen=True)
class RunMatches:
    """Some of the runs that match; ``total`` counts all of them, ``groups`` those in each group.

    ``hidden`` counts runs that would match if they were not archived. ``views`` are the saved ones.
    ``hints`` are sentences on columns, and on names in a query without matches, that no run has.
    """

    runs: tuple[RunMatch, ...]
    total: int
    groups: dict[Any, int]
    hidden: int = 0
    views: tuple[SavedView, ...] = ()
    hints: tuple[str, ...] = ()


def search(
    connection: Connection, selection: Selection, now: float, limit: int | None, offset: int = 0
) -> RunMatches:
    """Return the runs that match, pinned ones first; the first thing done with a connection."""
    subjects = list(_subjects(selection))
    names = [subject for subject in subjects if isinstance(subject, Name)]
    settings = {name.text for name in names if name.scope != "metric"}
    metrics = {curve.metric for curve in subjects if isinstance(curve, Curve)}
    metrics |= {name.text for name in names if name.scope != "setting"}
    with run_index.opened(connection, metrics - {"step"}, settings) as index:
        return _search(index, selection, now, limit, offset)


def includes_archived(query: Term) -> bool:
    """Return whether a query speaks of what is archived, or searches for words."""
    return any(
        isinstance(leaf, Words) or (isinstance(leaf, Filter) and leaf.word == "archived")
        for leaf in terms.walk(query)
    )


def _subjects(selection: Selection) -> Iterable[Column]:
    """Return every column that values are needed of."""
    yield from _compared(selection.query)
    yield selection.sort.column
    yield from selection.columns
    if selection.by is not None:
        yield selection.by


def _search(
    index: RunIndex, selection: Selection, now: float, limit: int | None, offset: int
) -> RunMatches:
    runs = [index.runs[run_id] for run_id in index.order]
    matching = list(compress(runs, columnwise.holds(selection.query, RunColumns(index, runs, now))))
    hidden = 0
    if not selection.archived and not includes_archived(selection.query):
        every, matching = matching, [run for run in matching if not run.archived]
        hidden = len(every) - len(matching)
    columns = RunColumns(index, matching, now)
    order = sorted_places(columns.values(selection.sort.column), selection.sort.descending)
    pinned = [place for place in order if matching[place].pinned_at is not None]
    if pinned:
        order = pinned + [place for place in order if matching[place].pinned_at is None]
    groups: Sequence[Any] = ()
    if selection.by is not None:
        groups = _groups(columns, matching, selection.by)
        order = _by_group(order, groups, selection.by)
    last = None if limit is None else offset + limit
    shown = order[offset:last]
    chosen = RunColumns(index, [matching[place] for place in shown], now)
    values = {column: _shown(chosen, column) for column in selection.columns}
    matches = (
        RunMatch(
            matching[place],
            {column: entries[row] for column, entries in values.items()},
            groups[place] if groups else None,
        )
        for row, place in enumerate(shown)
    )
    groups_of = dict(Counter(groups))
    subjects = _compared(selection.query) if not (order or hidden) else []
    hints = tuple(_hints(index, [*subjects, *selection.columns]))
    return RunMatches(tuple(matches), len(order), groups_of, hidden, tuple(index.views), hints)


def known_names(connection: Connection) -> list[str]:
    """Return the names of all metrics, and of all settings of the branches that stand for runs."""
    metrics = connection.execute(select(metric_summaries.c.name).distinct()).scalars()
    settings = run_records.settings_of(connection, None).values()
    return sorted({*metrics, *(name for values in settings for name in values)})


def _compared(query: Term) -> list[Name | Curve]:
    return [leaf.subject for leaf in terms.walk(query) if isinstance(leaf, Comparison)]


def _hints(index: RunIndex, subjects: Iterable[Column]) -> Iterator[str]:
    """Yield a sentence for each setting or metric of which no run has a value."""
    if not index.order:
        return
    for subject in dict.fromkeys(subjects):
        if isinstance(subject, Fact):
            continue
        name = subject.metric if isinstance(subject, Curve) else subject.text
        kinds = ("metric",) if isinstance(subject, Curve) else terms.SCOPES
        if isinstance(subject, Name) and subject.scope:
            kinds = (subject.scope,)
        if name != "step" and not any(_has_value(index, kind, name) for kind in kinds):
            yield f"No run has a {' or '.join(kinds)} named {name}."


def _has_value(index: RunIndex, kind: str, name: str) -> bool:
    if kind == "metric":
        return bool(index.metrics[name].by_segment)
    return any(value is not None for value in index.settings[name].values())


def sorted_places(values: Sequence[Any], descending: bool) -> list[int]:
    """Return the places of values in order: numbers, then texts, then those that are neither.

    What is equal stays in its order, also from the highest to the lowest value.
    """
    # NaN is different from itself, and has no place among numbers.
    numbers = [
        place
        for place, value in enumerate(values)
        if type(value) in _NUMBERS and value == value  # noqa: PLR0124
    ]
    numbers.sort(key=values.__getitem__, reverse=descending)
    if len(numbers) == len(values):
        return numbers
    texts = [place for place, value in enumerate(values) if isinstance(value, str)]
    texts.sort(key=values.__getitem__, reverse=descending)
    ordered = set(numbers).union(texts)
    return [*numbers, *texts, *(place for place in range(len(values)) if place not in ordered)]


def _shown(columns: RunColumns, column: Column) -> list[Any]:
    return [None] * len(columns) if isinstance(column, Fact) else columns.values(column)


def _groups(columns: RunColumns, runs: Sequence[RunRecord], by: Column) -> list[Any]:
    """Return the group of each run: its state, its first tag, or its value of a setting."""
    if isinstance(by, Fact):
        if by.word == "status":
            return [run.status for run in runs]
        return [run.tags[0] if run.tags else None for run in runs]
    return [_hashable(value) for value in columns.values(by)]


def _by_group(order: Sequence[int], groups: Sequence[Any], by: Column) -> list[int]:
    """Return places group by group, in the order of the groups' values; the liveliest first."""
    members: dict[Any, list[int]] = {}
    for place in order:
        members.setdefault(groups[place], []).append(place)
    keys = list(members)
    values = [STATES.index(key) for key in keys] if by == Fact("status") else keys
    return [place for key in sorted_places(values, False) for place in members[keys[key]]]


def _hashable(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return value if value is None or isinstance(value, (str, int, float)) else repr(value)


def selection(
    query: str = "", sort: str = "", by: str = "", columns: str = "", *, archived: bool = False
) -> Selection:
    """Return the selection that texts ask for, as pages, shell and API take them.

    Raises:
        InvalidInput: one of them cannot be read; the error's field is its name.
    """
    return Selection(
        parse(query, of_runs=True),
        parse_sort(sort) if sort.strip() else LATEST,
        parse_group(by),
        parse_columns(columns),
        archived,
    )

"""The table of runs: what its address asks for, its heads and rows."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for
from markupsafe import Markup

from branchtrack.core import formats
from branchtrack.core.queries import columns as written
from branchtrack.core.queries.columns import Column, Fact
from branchtrack.core.queries.evaluation import lookup
from branchtrack.core.queries.terms import Curve, Name
from branchtrack.db.browsing import run_search
from branchtrack.db.browsing.run_records import RunRecord, SegmentRecord
from branchtrack.db.browsing.run_search import RunMatch, RunMatches, Selection
from branchtrack.db.views.run_list import RunCounts, RunDetails
from branchtrack.web import formats as markup

#: The columns of a list that names none; those without any value are left out.
COLUMNS = "status,best(eval_loss),last(loss),lr,trend,step,speed,branches,nodes,updated"
SORT = "-updated"
_LABELS = {"speed": "steps/s"}
_TEXTS = frozenset(("name", "status", "tags", "trend"))
_NOTHING = RunDetails(RunCounts(0, 0), {}, {})


@dataclass(frozen=True)
class Choices:
    """What the address of the list asks for, as it was written; ``page`` counts from 1."""

    q: str = ""
    sort: str = ""
    by: str = ""
    columns: str = ""
    page: int = 1

    def selection(self) -> Selection:
        """Return the runs, order, groups and columns that are asked for.

        Raises:
            InvalidInput: one of them cannot be read.
        """
        return run_search.selection(self.q, self.sort or SORT, self.by, self.columns or COLUMNS)

    def address(self, **changes: Any) -> str:
        """Return the address of the list with other choices; it begins with its first page."""
        parts = {"q": self.q, "sort": self.sort, "by": self.by, "columns": self.columns, **changes}
        return url_for("runs.index", **{name: value for name, value in parts.items() if value})


@dataclass(frozen=True)
class Head:
    """The head of a column: its sort link and state, if runs can be sorted by it."""

    column: Column
    label: str
    style: str
    href: str | None
    sorted: str | None


@dataclass(frozen=True)
class Cell:
    """A value of a column as text; ``title`` says more of it, ``kind`` is the word of a fact."""

    kind: str
    text: str
    style: str
    title: str = ""


@dataclass(frozen=True)
class RunRow:
    """A line of the page, and the head of the group that begins with it."""

    run: RunRecord
    cells: Sequence[Cell]
    counts: RunCounts
    group: str | None = None
    group_count: int = 0


def word_of(choices: Choices, matches: RunMatches, minute: int) -> str:
    """Return a digest of what the list shows, by which a browser says that it has it."""
    shown = [
        (
            match.run.id,
            match.run.updated_at,
            match.run.shown_status,
            [segment and (segment.step, segment.rate) for segment in _lines(match.run)],
            list(match.values.values()),
        )
        for match in matches.runs
    ]
    return f"{zlib.crc32(repr((choices, matches.total, minute, shown)).encode()):08x}"


def heads(choices: Choices, selection: Selection, shown: Sequence[Column]) -> list[Head]:
    """Return the heads of the columns, the name first."""
    made = []
    styles = _styles(selection, shown)
    for column in (Fact("name"), *shown):
        natural = written.natural(column)
        current = selection.sort if selection.sort.column == column else None
        target = current.reversed if current else natural
        direction = ("descending" if current.descending else "ascending") if current else None
        label = _LABELS.get(str(column), str(column))
        made.append(
            Head(
                column,
                "run" if label == "name" else label,
                styles[column],
                choices.address(sort=str(target)) if target else None,
                direction,
            )
        )
    return made


def shown_columns(
    choices: Choices, selection: Selection, matches: RunMatches
) -> tuple[Column, ...]:
    """Return the columns of the table: those that were chosen, or those that have values."""
    if choices.columns:
        return selection.columns
    return tuple(
        column
        for column in selection.columns
        if isinstance(column, Fact) or any(m.values[column] is not None for m in matches.runs)
    )


def rows(
    selection: Selection,
    matches: RunMatches,
    shown: Sequence[Column],
    details: Mapping[str, RunDetails],
    sparks: Mapping[str, Markup],
    now: float,
) -> list[RunRow]:
    """Return the rows of a page of the list; ``sparks`` has the small curve of each run."""
    styles = _styles(selection, shown)
    made: list[RunRow] = []
    for match in matches.runs:
        run, known = match.run, details.get(match.run.id, _NOTHING)
        cells = []
        for column in shown:
            if column == Fact("trend"):
                cells.append(Cell("trend", sparks.get(run.id, Markup("")), styles[column]))
            elif isinstance(column, Fact):
                text = _fact(column.word, run, known.counts, now)
                cells.append(Cell(column.word, text, styles[column]))
            else:
                cells.append(_value(match, column, styles[column], known))
        made.append(RunRow(run, cells, known.counts, *_group_head(selection, matches, len(made))))
    return made


def _fact(word: str, run: RunRecord, counts: RunCounts, now: float) -> str:
    """Return a property of a run as text; the state is written by the template."""
    branch = run.shown_branch
    segment = branch.current if branch else None
    trains = run.status == "running"
    if word in ("created", "updated"):
        return markup.ago(run.created_at if word == "created" else run.updated_at, now)
    if word in ("branches", "nodes"):
        return formats.steps(len(run.branches) if word == "branches" else counts.nodes)
    if word == "speed":
        return formats.metric(segment.rate) if segment and segment.rate and trains else ""
    if word == "step":
        if segment is None:
            return formats.NOTHING
        text = formats.steps(segment.step)
        if not (segment.max_steps and trains):
            return text
        total = formats.steps(segment.max_steps)
        return Markup('{} <span class="muted">of {}</span>').format(text, total)
    return {"tags": ", ".join(run.tags), "name": run.name}.get(word, "")


def _value(match: RunMatch, column: Name | Curve, style: str, details: RunDetails) -> Cell:
    value = match.values[column]
    if value is None:
        return Cell("value", formats.NOTHING, style)
    if isinstance(column, Curve):
        return Cell("value", formats.metric(value), style)
    text, title = formats.setting(value), formats.exact_setting(value)
    several = {
        repr(lookup(details.settings.get(trained.id, {}), column.text))
        for branch in match.run.branches
        if (trained := branch.trained) is not None
    }
    if len(several) > 1 and match.run.leader is not None:
        title = f"The branches differ: {len(several)} values. {match.run.leader.name} has {title}."
        text = f"{text} ({len(several)})"
    return Cell("value", text, style, title if title != text else "")


def _group_head(selection: Selection, matches: RunMatches, place: int) -> tuple[str | None, int]:
    """Return the name of the group that begins with a row, and how many runs are in it."""
    group = matches.runs[place].group
    if selection.by is None or (place and matches.runs[place - 1].group == group):
        return None, 0
    return _group(selection.by, group), matches.groups[group]


def _styles(selection: Selection, shown: Sequence[Column]) -> dict[Column, str]:
    """Return the classes of columns; a narrow screen has room for few."""
    values = [column for column in shown if not isinstance(column, Fact)]
    narrow = {Fact("name"), Fact("status"), selection.sort.column, *values[:1]}
    styles = {}
    for column in (Fact("name"), *shown):
        word = str(column)
        classes = [word] if word == "trend" else [] if word in _TEXTS else ["num"]
        styles[column] = " ".join([*classes, *([] if column in narrow else ["wide"])])
    return styles


def _group(by: Column, value: Any) -> str:
    if by == Fact("status"):
        return formats.state_words(value)
    return f"no {by}" if value is None else f"{by} {formats.setting(value)}"


def _lines(run: RunRecord) -> list[SegmentRecord | None]:
    return [branch.current for branch in run.branches]

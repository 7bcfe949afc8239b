"""The columns of a table of runs, and what it is sorted and grouped by, as people write them.

``lr``, ``best(eval_loss)``, ``last(loss)``, ``updated``; ``-updated`` is sorted from the highest
to the lowest value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.queries.language import parse_subject
from branchtrack.core.queries.terms import FUNCTIONS, Curve, Name
from branchtrack.errors import InvalidInput

#: What a run has apart from settings and metrics, and whether it is sorted from the highest on.
FACTS = {
    "name": False,
    "status": False,
    "branches": True,
    "nodes": True,
    "tags": False,
    "step": True,
    "speed": True,
    "trend": False,
    "created": True,
    "updated": True,
}
#: Those that runs are not sorted by.
_UNSORTED = frozenset(("trend", "speed", "nodes"))
#: Those that runs are grouped by.
_GROUPS = ("status", "tag")
#: Columns of a table, and characters that name them.
MOST = 12
_LONGEST = 1000
#: Commas do not part what is within backticks.
_PIECE = re.compile(r"(?:`[^`]*`|[^,`]|`)+")
_ALLOWED = (
    f"{', '.join(FACTS)}, the name of a setting or metric, or of a metric "
    f"{', '.join(f'{name}(NAME)' for name in FUNCTIONS)}"
)


@dataclass(frozen=True)
class Fact:
    """A property of a run by its word, one of `FACTS`; ``tag`` only to group by."""

    word: str

    def __str__(self) -> str:
        return self.word


Column = Fact | Name | Curve


@dataclass(frozen=True)
class Sort:
    """A column that runs are sorted by, from the lowest value on or from the highest."""

    column: Column
    descending: bool = False

    def __str__(self) -> str:
        return f"{'-' * self.descending}{self.column}"

    @property
    def reversed(self) -> Sort:
        """Return the same in the other direction."""
        return Sort(self.column, not self.descending)


def parse_columns(text: str) -> tuple[Column, ...]:
    """Return columns written with commas between, each once.

    Raises:
        InvalidInput: one is none, or there are too many.
    """
    if len(text) > _LONGEST:
        raise InvalidInput("columns", f"{text[:40]}...", f"at most {_LONGEST:,} characters")
    pieces = [piece.strip() for piece in _PIECE.findall(text)]
    columns = tuple(dict.fromkeys(_column("columns", piece) for piece in pieces if piece))
    if len(columns) > MOST:
        raise InvalidInput("columns", text, f"at most {MOST} of them")
    return columns


def parse_sort(text: str) -> Sort:
    """Return what ``-updated`` or ``best(eval_loss)`` sorts by.

    Raises:
        InvalidInput: it is no column, or none that can be sorted by.
    """
    spelled = text.strip()
    column = _column("sort", spelled.removeprefix("-").strip())
    if isinstance(column, Fact) and column.word in _UNSORTED:
        raise InvalidInput("sort", text, _ALLOWED, what=f"Runs are not sorted by {column}.")
    return Sort(column, spelled.startswith("-"))


def parse_group(text: str) -> Column | None:
    """Return what ``tag``, ``status`` or a setting groups by; None if that is nothing.

    Raises:
        InvalidInput: it is none of these.
    """
    spelled = text.strip()
    if not spelled or spelled in _GROUPS:
        return Fact(spelled) if spelled else None
    column = _column("by", spelled)
    if not isinstance(column, Name):
        raise InvalidInput("by", text, f"{', '.join(_GROUPS)}, or the name of a setting")
    return column


def natural(column: Column) -> Sort | None:
    """Return in which direction a column is sorted first: the best on top; None if in none."""
    if isinstance(column, Fact):
        return None if column.word in _UNSORTED else Sort(column, FACTS[column.word])
    if isinstance(column, Curve):
        is_best_high = is_higher_better(column.metric)
        return Sort(column, is_best_high)
    return Sort(column)


def curves(columns: Sequence[Column | None]) -> set[Curve]:
    """Return those columns that are values of curves."""
    return {column for column in columns if isinstance(column, Curve)}


def _column(field: str, text: str) -> Column:
    if text in FACTS:
        return Fact(text)
    try:
        return parse_subject(text)
    except InvalidInput as error:
        what = f"{field}: {text or 'nothing'} is no column."
        raise InvalidInput(field, text, _ALLOWED, what=what) from error

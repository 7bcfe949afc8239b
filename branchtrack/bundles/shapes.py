"""Whether the values of a row can be what branchtrack itself writes there.

Whoever reads the row later takes its JSON for what it should be, its times for times and its names
for names: what is none of these is refused before it is in a home.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import JSON, Double

from branchtrack.bundles.rows import TABLES
from branchtrack.core.builtin_settings import declared
from branchtrack.core.lifecycle import STATES
from branchtrack.core.names import valid_name
from branchtrack.core.trials import validity
from branchtrack.core.trials.judging import Verdict
from branchtrack.core.trials.records import Pair, Spec, Trial
from branchtrack.errors import BranchtrackError

#: The end of the year 9999, in seconds since 1970.
_LATEST = 253_402_300_799.0


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    before: Any
    after: Any
    step: int | None = None


class _EntryPoint(BaseModel):
    argv: list[str]
    cwd: str | None = None
    env: dict[str, str] = {}


class _Launcher(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: str
    options: list[str]


#: JSON that is no object, or one with certain fields; a missing value may be the null of JSON.
_SHAPES: dict[tuple[str, str], Any] = {
    ("runs", "tags"): list[str],
    ("runs", "entry_point"): _EntryPoint | None,
    ("branches", "tags"): list[str] | None,
    ("segments", "declared"): list[dict[str, Any]],
    ("nodes", "tags"): list[str] | None,
    ("nodes", "changes"): list[_Change],
    ("nodes", "param_groups"): list[dict[str, Any]],
    ("nodes", "settings"): dict[str, Any],
    ("nodes", "metrics"): dict[str, float | str | dict[str, Any] | None],
    ("launches", "entry_point"): _EntryPoint | None,
    ("launches", "launcher"): _Launcher | None,
    ("launches", "labels"): list[str] | None,
    ("launches", "overrides"): dict[str, Any],
    ("certificates", "untested"): list[Any],
    ("exchanges", "prompt"): list[dict[str, Any]],
    ("trials", "spec"): Spec,
    ("trials", "pairs"): list[Pair],
    ("trials", "verdicts"): list[Verdict | None],
}
#: Names that people chose by the rule for names.
_NAMES = {"runs": ("name", "default_branch"), "branches": ("name",)}
#: The column of a state, and what has it.
_STATES = {
    "segments": ("status", "segment"),
    "requests": ("state", "request"),
    "launches": ("state", "launch"),
}
_COUNTS = {"segments": ("step", "position"), "nodes": ("step",), "branches": ("position",)}


def fault(name: str, row: dict[str, Any]) -> str:
    """Return what is wrong with the values of a row of the table ``name``, or an empty text."""
    for column in TABLES[name].c:
        value = row.get(column.name)
        if value is None:
            continue
        if isinstance(value, str) and "\x00" in value:
            return f"{column.name} has a character that no database can hold"
        if isinstance(column.type, JSON) and not _is_shaped(name, column.name, value):
            return f"{column.name} is not of the form that it has"
        if isinstance(column.type, Double) and _is_time(column.name) and not 0 <= value <= _LATEST:
            return f"{column.name} is no time"
    for column_name in _COUNTS.get(name, ()):
        if row[column_name] < 0:
            return f"{column_name} is negative"
    if name == "trials" and (column_name := _trial_fault(row)):
        return f"{column_name} is not of the form that it has"
    column_name, kind = _STATES.get(name, ("", ""))
    if column_name and row[column_name] not in STATES[kind]:
        return f"{column_name} is none that it can have"
    return _name_fault(name, row)


def _name_fault(name: str, row: dict[str, Any]) -> str:
    for column in _NAMES.get(name, ()):
        try:
            valid_name(row[column])
        except BranchtrackError:
            return f"{column} is no valid name"
    return ""


def _trial_fault(row: dict[str, Any]) -> str:
    """Return the column in which a trial, whose types are right, is none that could be read."""
    parsed = {name: json.loads(row[name]) for name in ("spec", "pairs", "verdicts")}
    try:
        return validity.fault(Trial.read({**row, **parsed}))
    except TypeError:
        # What pydantic ignores, such as an unknown field, no record takes.
        return "spec, pairs or verdicts"


def _is_time(column: str) -> bool:
    return column == "time" or column.endswith("_at")


def _is_shaped(table: str, column: str, text: str) -> bool:
    try:
        strictly = True if table == "trials" else None
        value = _adapter(table, column).validate_json(text, strict=strictly)
        if (table, column) == ("segments", "declared"):
            declared(value)
    except (ValidationError, BranchtrackError, TypeError, ValueError, LookupError):
        return False
    return True


@cache
def _adapter(table: str, column: str) -> TypeAdapter[Any]:
    return TypeAdapter(_SHAPES.get((table, column), dict[str, Any] | None))

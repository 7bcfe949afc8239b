"""Rows of the database as lines of JSON, and whether a line from elsewhere can be such a row.

A row travels as the database stores it (JSON columns as their text), so that what its run's events
say of it holds on the other side. NULL is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, Boolean, Double, Integer, LargeBinary, String, Table, Text
from sqlalchemy.sql.schema import Column

from branchtrack.db import tables
from branchtrack.db.orders.tables import trials

#: What travels, in the order in which rows can be inserted.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        tables.runs,
        tables.groups,
        tables.branches,
        tables.segments,
        tables.texts,
        tables.checkpoints,
        tables.nodes,
        tables.requests,
        tables.launches,
        trials,
        tables.certificates,
        tables.refusals,
        tables.alerts,
        tables.agents,
        tables.exchanges,
        tables.metric_series,
        tables.metric_points,
        tables.metric_blocks,
        tables.events,
    )
}
#: What each database writes by itself.
LOCAL = {
    "events": frozenset({"id"}),
    "metric_points": frozenset({"seal"}),
    "metric_blocks": frozenset({"seal"}),
}
_INTEGERS = 1 << 63
_BINARY, _FLOAT = "base64", "float"


class BadRow(Exception):
    """What a row has that no row of its table can have."""


def encoded(table: Table, values: Mapping[str, Any]) -> bytes:
    """Return a row as `seals.raw` reads it, as one line."""
    local = LOCAL.get(table.name, frozenset())
    row = {
        name: _plain(value)
        for name, value in values.items()
        if value is not None and name not in local
    }
    return json.dumps(row, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decoded(table: Table, line: bytes) -> dict[str, Any]:
    """Return the row in a line, with every column of its table that travels.

    Raises:
        BadRow: it is no row of this table.
    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRow("it is not JSON") from error
    columns = columns_of(table)
    if not isinstance(content, dict) or not content.keys() <= columns.keys():
        raise BadRow("it has other columns than the table")
    return {name: _value(column, content.get(name)) for name, column in columns.items()}


def columns_of(table: Table) -> dict[str, Column[Any]]:
    """Return the columns of a table that travel."""
    local = LOCAL.get(table.name, frozenset())
    return {column.name: column for column in table.c if column.name not in local}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {_BINARY: base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    return value


def _value(column: Column[Any], value: Any) -> Any:
    """Return a value of JSON as the one that the column holds."""
    if value is None:
        if column.nullable:
            return None
        raise BadRow(f"{column.name} is missing")
    kind = column.type
    if isinstance(kind, LargeBinary):
        return _bytes(column.name, value)
    if isinstance(kind, Double):
        return _number(column.name, value)
    if isinstance(kind, Boolean):
        if value in (0, 1):
            return bool(value)
    elif isinstance(kind, Integer):
        if type(value) is int and -_INTEGERS <= value < _INTEGERS:
            return value
    elif isinstance(kind, JSON):
        return _json_text(column.name, value)
    elif isinstance(kind, String | Text) and isinstance(value, str):
        if kind.length is None or len(value) <= kind.length:
            return value
    raise BadRow(f"{column.name} has a value that is none of its own")


def _bytes(name: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value[_BINARY], validate=True)
    except (TypeError, LookupError, ValueError, binascii.Error) as error:
        raise BadRow(f"{name} is not base64") from error


def _number(name: str, value: Any) -> float:
    if isinstance(value, dict) and value.get(_FLOAT) in ("inf", "-inf", "nan"):
        return float(value[_FLOAT])
    if type(value) in (int, float):
        return float(value)
    raise BadRow(f"{name} is not a number")


def _json_text(name: str, value: Any) -> str:
    try:
        json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow(f"{name} is not JSON") from error
    return str(value)

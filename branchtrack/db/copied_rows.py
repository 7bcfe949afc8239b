"""Rows that come from another database, written as that one stored them and sealed anew.

Each database numbers nodes, requests, launches, events and series by itself. Events say what a row
was when it had its first number: ``logged_seq`` keeps that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Connection, Table, TextClause, select, text

from branchtrack.db import audit, seals, tables, tails
from branchtrack.db.browsing import summaries
from branchtrack.db.browsing.tables import metric_pyramids

_CHUNK = 500
#: Columns that each database makes for itself.
_OWN = frozenset({"seq", "logged_seq"})


def add(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row as another database had it, under a number of this one, and seal it."""
    values = dict(row)
    if "logged_seq" in table.c:
        number = values.pop("seq")
        values["logged_seq"] = logged_seq(row)
        connection.execute(_insert(table, tuple(values), connection.dialect.name), values)
        if row["logged_seq"] is None:
            # It has the number that its events speak of.
            where = (table.c.id == row["id"]) & (table.c.seq == number)
            connection.execute(table.update().where(where).values(logged_seq=None))
    else:
        connection.execute(_insert(table, tuple(values), connection.dialect.name), values)
    seal(connection, table, row)


def change(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Give a row with the same id the values that another database had, and seal it."""
    keys = {column.name for column in table.primary_key} - _OWN or {"id"}
    values = {name: value for name, value in row.items() if name not in _OWN}
    statement = _update(table, tuple(values), tuple(sorted(keys)), connection.dialect.name)
    connection.execute(statement, values)
    seal(connection, table, row)


def remove(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Delete a row with its seal."""
    keys = {column.name for column in table.primary_key}
    where = " AND ".join(f'"{name}" = :{name}' for name in sorted(keys))
    statement = text(f'DELETE FROM "{table.name}" WHERE {where}')
    connection.execute(statement, {name: row[name] for name in keys})
    seals.remove(connection, table, [seals.key_of(table, row)])


def is_equal(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two rows of databases say the same, whatever their numbers."""
    digests = {
        seals.digest({name: values[name] for name in values if name not in _OWN})
        for values in (row, other)
    }
    return len(digests) == 1 and logged_seq(row) == logged_seq(other)


def logged_seq(row: Mapping[str, Any]) -> int | None:
    """Return the number by which its events know a row, if it has one."""
    number = row.get("logged_seq")
    return row.get("seq") if number is None else number


def seal(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Seal the row with that key as it is now."""
    if "id" in table.c or "digest" in table.c:
        seals.renew(connection, table, seals.key_of(table, row))
        return
    key = seals.key_of(table, row)
    for stored in seals.raw(connection, table, row["run_id"], "run_id"):
        if seals.key_of(table, stored) == key:
            seals.write(connection, table, {key: seals.of_row(table, stored)})


def add_events(
    connection: Connection, run_id: str, rows: Iterable[Mapping[str, Any]], after: int
) -> None:
    """Append events to a run's log with the hashes that they have; ``after``: its last ``seq``."""
    remaining = iter(rows)
    while chunk := [dict(row) for row in islice(remaining, _CHUNK)]:
        connection.execute(_insert(tables.events, tuple(chunk[0]), connection.dialect.name), chunk)
    audit.seal_numbers(connection, run_id, after)


def remove_series(connection: Connection, segment_ids: Collection[str]) -> None:
    """Delete all metrics of segments."""
    series = tables.metric_series
    for segment_id in segment_ids:
        ids = connection.execute(select(series.c.id).where(series.c.segment_id == segment_id))
        doomed = list(ids.scalars())
        summaries.remove(connection, doomed)
        for series_id in doomed:
            for table in (tables.metric_points, tables.metric_blocks, metric_pyramids):
                connection.execute(table.delete().where(table.c.series_id == series_id))
            connection.execute(series.delete().where(series.c.id == series_id))
            seals.renew(connection, series, series_id)


def add_series(connection: Connection, row: Mapping[str, Any]) -> int:
    """Insert a series without its points, and return its id here."""
    series = tables.metric_series
    values = {name: value for name, value in row.items() if name != "id"}
    inserted = connection.execute(series.insert().values(**values)).inserted_primary_key
    assert inserted is not None
    return int(inserted.id)


def add_points(
    connection: Connection, table: Table, ids: Mapping[int, int], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Insert points or blocks of points; ``ids``: this database's series by the other's."""
    remaining = iter(rows)
    while chunk := list(islice(remaining, _CHUNK)):
        values = [{**row, "series_id": ids[row["series_id"]]} for row in chunk]
        for row in values:
            is_point = table is tables.metric_points
            row["seal"] = seals.point(**row) if is_point else seals.digest(row)
        connection.execute(table.insert(), values)


def seal_series(connection: Connection, series_ids: Iterable[int]) -> None:
    """Seal series with the points of their tails."""
    tails.write(connection, [tails.load(connection, series_id) for series_id in series_ids])


@lru_cache(maxsize=100)
def _insert(table: Table, names: tuple[str, ...], dialect: str) -> TextClause:
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(_value(table, name, dialect) for name in names)
    return text(f'INSERT INTO "{table.name}" ({columns}) VALUES ({values})')


@lru_cache(maxsize=100)
def _update(
    table: Table, names: tuple[str, ...], keys: tuple[str, ...], dialect: str
) -> TextClause:
    changes = [f'"{name}" = {_value(table, name, dialect)}' for name in names if name not in keys]
    where = " AND ".join(f'"{name}" = :{name}' for name in keys)
    return text(f'UPDATE "{table.name}" SET {", ".join(changes)} WHERE {where}')


def _value(table: Table, name: str, dialect: str) -> str:
    """Return the placeholder of a value; the text of JSON is stored letter by letter."""
    is_json = isinstance(table.c[name].type, JSON) and dialect != "sqlite"
    return f"CAST(:{name} AS JSON)" if is_json else f":{name}"

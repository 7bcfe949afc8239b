"""Seals: a digest beside every row that shows whether it was changed, lost or added.

A seal covers a row as the database stores it, before any JSON is read, so that a damaged row can
still be checked. It guards against bad disks and edits by hand; it proves no author, since anyone
who can write the database can seal a row again. What nodes, requests and launches say is therefore
covered by the chain of events as well, see `contents`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Table,
    Text,
    TextClause,
    Update,
    cast,
    select,
    text,
)

from branchtrack.core.records import CONTENTS
from branchtrack.db import tables
from branchtrack.db.orders.tables import launchers, trials
from branchtrack.db.tables import seals

#: Every table but those whose rows prove themselves. Of `tensors` the headers of packs are the
#: proof; of `events` their chain, and seals of their numbers (`audit.misnumbered`). Rows of
#: `workers` say only who works at present. Points and
#: blocks of metrics carry their seals themselves; those of series cover points, too (`tails`).
SEALED: dict[str, Table] = {
    table.name: table
    for table in (
        tables.runs,
        tables.branches,
        tables.groups,
        tables.segments,
        tables.nodes,
        tables.packs,
        tables.checkpoints,
        tables.texts,
        tables.requests,
        tables.refusals,
        tables.tokens,
        tables.launches,
        trials,
        launchers,
        tables.certificates,
        tables.alerts,
        tables.agents,
        tables.exchanges,
    )
}
#: What is written with each event, whose time it repeats.
_REPEATED = {"runs": {"updated_at"}}
#: What becomes known after the event that defines a row.
LATE = {
    "nodes": frozenset({"effective", "restored", "proof", "compared", "pinned_at", "tags"}),
    "launches": frozenset(
        "worker updated_at priority retries cancel job job_state job_host job_reason".split()
    ),
    "alerts": frozenset({"seen_at", "seen_by", "delivered_at", "delivery"}),
}
#: What is wrong with a row that does not have its seal.
CHANGED = "is not as it was written"
_SEAL_BYTES, _CONTENT_BYTES, _KEY_BYTES = 8, 16, 32
_CHUNK = 500
#: As text, for it is executed with every batch of points.
_STORE = text(
    'INSERT INTO seals ("table", key, seal) VALUES (:table, :key, :seal) '
    'ON CONFLICT ("table", key) DO UPDATE SET seal = excluded.seal'
)
#: Before the names of columns of JSON that are read as their text, too.
_TEXT = "text of "
_POINT = struct.Struct("<qq?dd")
#: Where a connection has the seals to be written at the end of its transaction, by table and key;
#: a row without one is sealed as it is then.
_PENDING = "branchtrack.seals"
_Pending = dict[tuple[str, str], tuple[Table, object, str | None]]


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """Seal the rows written in the block at its end, each once, in as few statements as possible.

    A block that raises seals nothing: its transaction is rolled back.
    """
    # A connection that fails in the block has lost its own way to this.
    info = connection.info
    info[_PENDING] = _Pending()
    try:
        yield
        _flush(connection)
    finally:
        del info[_PENDING]


def digest(values: Mapping[str, Any], nbytes: int = _SEAL_BYTES) -> str:
    """Return the digest of a row's values by column, in hexadecimal; NULL does not count.

    So a column that a later version adds leaves the seals of older rows unchanged.
    """
    hasher = hashlib.blake2b(digest_size=nbytes)
    for name in sorted(values):
        value = values[name]
        if value is None or name == "seal":
            continue
        if isinstance(value, str):
            kind, content = "t", value.encode("utf-8", "surrogateescape")
        elif isinstance(value, bytes | memoryview):
            kind, content = "b", bytes(value)
        else:
            # True is 1 to SQLite, and -0.0 is 0.0.
            number = float(value) + 0.0 if isinstance(value, float) else int(value)
            kind, content = "n", repr(number).encode()
        hasher.update(f"{name}{kind}{len(content)}:".encode())
        hasher.update(content)
    return hasher.hexdigest()


def point(series_id: int, step: int, value: float | None, time: float) -> str:
    """Return the seal of a metric's point; there are too many for `digest`."""
    # Zero has no sign in SQLite.
    content = _POINT.pack(series_id, step, value is None, (value or 0.0) + 0.0, time + 0.0)
    return hashlib.blake2b(content, digest_size=_SEAL_BYTES).hexdigest()


def renew(connection: Connection, table: Table, key: object) -> None:
    """Seal the row of ``table`` with that id as it is now; a missing row loses its seal.

    Within `together`, as it is at the end of the block.
    """
    if (pending := connection.info.get(_PENDING)) is not None:
        pending[table.name, str(key)] = table, key, None
        return
    values = next(raw(connection, table, key), None)
    if values is None:
        where = (seals.c.table == table.name) & (seals.c.key == str(key))
        connection.execute(seals.delete().where(where))
        return
    write(connection, table, {key: of_row(table, values)})


def renew_for_event(connection: Connection, table: Table, key: object) -> dict[str, str]:
    """Do as `renew`, for an existing row; return what its event says of its content."""
    return _seal_for_event(connection, table, next(raw(connection, table, key)))


def write_row(
    connection: Connection, table: Table, statement: Insert | Update, key: object
) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Execute an INSERT or UPDATE of the row with that id, and do as `renew_for_event` for it.

    Returns:
        the row's values by column, and what its event says of its content; None if it changed none.
    """
    columns = _with_texts(table)
    if connection.dialect.name == "sqlite":
        # Its RETURNING returns whole numbers as floats (3.40), which have another seal.
        written = connection.execute(statement).rowcount
        query = select(*columns).where(table.c[_key(table)] == key)
        row = connection.execute(query).one() if written else None
    else:
        row = connection.execute(statement.returning(*columns)).first()
    if row is None:
        return None
    values = {column.name: row._mapping[column] for column in table.c}
    texts = {column.name: row._mapping[_TEXT + column.name] for column in _json_of(table)}
    return values, _seal_for_event(connection, table, values | texts)


@lru_cache(maxsize=100)
def _with_texts(table: Table) -> tuple[ColumnElement[Any], ...]:
    """Return the columns of a table and, by other names, JSON as its text, which is sealed."""
    texts = (cast(column, Text).label(_TEXT + column.name) for column in _json_of(table))
    return *table.c, *texts


def _json_of(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if isinstance(column.type, JSON)]


def _seal_for_event(
    connection: Connection, table: Table, values: Mapping[str, Any]
) -> dict[str, str]:
    write(connection, table, {key_of(table, values): of_row(table, values)})
    return {CONTENTS: contents_of_row(table, values)}


def holds(connection: Connection, table: Table, key: object) -> bool:
    """Return whether the row with that id is as it was sealed."""
    values = next(raw(connection, table, key), None)
    return values is not None and stored(connection, table, key) == of_row(table, values)


def stored(connection: Connection, table: Table, key: object) -> str | None:
    """Return the last seal of the row with that id."""
    _flush(connection)
    where = (seals.c.table == table.name) & (seals.c.key == str(key))
    return connection.execute(select(seals.c.seal).where(where)).scalar()


def all_stored(connection: Connection, table: Table) -> dict[str, str]:
    """Return the seals of all rows of a table, by the rows' ids."""
    _flush(connection)
    query = select(seals.c.key, seals.c.seal).where(seals.c.table == table.name)
    return {row.key: row.seal for row in connection.execute(query)}


def contents(connection: Connection, table: Table, key: object) -> str:
    """Return the digest of a row's permanent content, as its event has it."""
    values = next(raw(connection, table, key))
    return contents_of_row(table, values)


def contents_of_run(connection: Connection, table: Table, run_id: str) -> dict[str, str]:
    """Do as `contents`, for each row of a run, by id."""
    rows = raw(connection, table, run_id, "run_id")
    return {str(values["id"]): contents_of_row(table, values) for values in rows}


def seal_all(connection: Connection, columns: Mapping[str, Collection[str]]) -> None:
    """Seal every existing row, when a database gets seals; ``columns``: columns by table."""
    for table in SEALED.values():
        if table.name not in columns:
            continue
        rows = raw(connection, table, columns=columns[table.name])
        write(connection, table, {key_of(table, row): of_row(table, row) for row in rows})


def broken(
    connection: Connection,
    table: Table,
    is_valid: Callable[[str, Mapping[str, Any]], bool] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield the (id, what is wrong) of each row of a table that is not as it was sealed.

    ``is_valid`` says whether a seal is that of a row, where it covers more than the row.
    """
    valid = is_valid or (lambda seal, values: seal == of_row(table, values))
    sealed = all_stored(connection, table)
    for values in raw(connection, table):
        key = key_of(table, values)
        seal = sealed.pop(key, None)
        if seal is None:
            yield key, "was not written by branchtrack, or its id was changed"
        elif not valid(seal, values):
            yield key, CHANGED
    for key in sealed:
        yield key, "is gone"


def broken_points(connection: Connection) -> Iterator[tuple[str, str]]:
    """Do as `broken`, for points outside of blocks, by series and step."""
    for values in raw(connection, tables.metric_points):
        key = f"{values['series_id']}:{values['step']}"
        seal = values.pop("seal")
        try:
            holds = seal == point(**values)
        except (struct.error, TypeError):
            holds = False
        if not holds:
            yield key, CHANGED


def broken_blocks(connection: Connection) -> Iterator[tuple[str, str]]:
    """Do as `broken`, for blocks of points, by series and first step."""
    for values in raw(connection, tables.metric_blocks):
        if values["seal"] != digest(values):
            yield f"{values['series_id']}:{values['first_step']}", CHANGED


def write(connection: Connection, table: Table, sealed: Mapping[Any, str]) -> None:
    """Store seals of rows of a table, by the rows' ids."""
    if (pending := connection.info.get(_PENDING)) is not None:
        pending |= {(table.name, str(key)): (table, key, seal) for key, seal in sealed.items()}
        return
    _store(connection, [(table.name, str(key), seal) for key, seal in sealed.items()])


def remove(connection: Connection, table: Table, keys: Sequence[str]) -> None:
    """Remove the seals of rows that are gone."""
    for key in keys:
        connection.info.get(_PENDING, {}).pop((table.name, key), None)
    of_table = seals.c.table == table.name
    for first in range(0, len(keys), _CHUNK):
        chunk = keys[first : first + _CHUNK]
        connection.execute(seals.delete().where(of_table, seals.c.key.in_(chunk)))


def _flush(connection: Connection) -> None:
    """Write the seals that wait for the end of the transaction."""
    pending: _Pending = connection.info.get(_PENDING) or {}
    if not pending:
        return
    rows, gone = [], []
    for (name, key), (table, row_key, seal) in pending.items():
        if seal is None:
            values = next(raw(connection, table, row_key), None)
            if values is None:
                gone.append((table, key))
                continue
            seal = of_row(table, values)
        rows.append((name, key, seal))
    pending.clear()
    _store(connection, rows)
    for table, key in gone:
        remove(connection, table, [key])


def _store(connection: Connection, sealed: Sequence[tuple[str, str, str]]) -> None:
    rows = [{"table": name, "key": key, "seal": seal} for name, key, seal in sealed]
    for first in range(0, len(rows), _CHUNK):
        connection.execute(_STORE, rows[first : first + _CHUNK])


def raw(
    connection: Connection,
    table: Table,
    key: object = None,
    column: str = "",
    columns: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Return rows as the database stores them: JSON as its text."""
    names = tuple(name for name in table.c.keys() if not columns or name in columns)
    where = "" if key is None else column or _key(table)
    query = _query(table, names, where, connection.dialect.name)
    for row in connection.execute(query, {} if key is None else {"key": key}):
        yield dict(zip(names, row, strict=True))


@lru_cache(maxsize=100)
def _query(table: Table, names: tuple[str, ...], where: str, dialect: str) -> TextClause:
    parts = [
        # PostgreSQL's driver would read the JSON.
        f'CAST("{name}" AS TEXT)'
        if dialect != "sqlite" and isinstance(table.c[name].type, JSON)
        else f'"{name}"'
        for name in names
    ]
    condition = f' WHERE "{where}" = :key' if where else ""
    return text(f'SELECT {", ".join(parts)} FROM "{table.name}"{condition}')


def _key(table: Table) -> str:
    return "id" if "id" in table.c else "digest"


def key_of(table: Table, values: Mapping[str, Any]) -> str:
    """Return the key of a row's seal: the row's id, or the digest of a composite key."""
    if _key(table) in values:
        return str(values[_key(table)])
    return digest({column.name: values[column.name] for column in table.primary_key}, _KEY_BYTES)


def of_row(table: Table, values: Mapping[str, Any]) -> str:
    """Return the seal of a row as the database stores it."""
    repeated = _REPEATED.get(table.name, ())
    return digest({name: value for name, value in values.items() if name not in repeated})


def contents_of_row(table: Table, values: Mapping[str, Any]) -> str:
    """Return the digest of the permanent content of a row, given as `raw` returns it."""
    late = LATE.get(table.name, frozenset())
    settled = {name: value for name, value in values.items() if name not in late}
    logged_seq = settled.pop("logged_seq", None)
    if logged_seq is not None:
        settled["seq"] = logged_seq
    return digest(settled, _CONTENT_BYTES)

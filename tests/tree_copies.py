"""Copies of a tree's rows and packs: to grow it anew takes longer, in hundreds of tests."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    insert,
    select,
    text,
    update,
)

from branchtrack.checkpoints.folder import Folder
from branchtrack.checkpoints.packs import Store
from branchtrack.db import seals, tables
from branchtrack.db.engine import Database

TABLES = tables.metadata.sorted_tables


@dataclass(frozen=True)
class Copy:
    """The rows of a database by table, and the bytes of a store's packs."""

    rows: dict[str, list[dict[str, Any]]]
    packs: dict[str, bytes]


def is_possible(database: Database, store: Store) -> bool:
    """Whether rows can be put into a database as they are: it has none yet, and packs are files."""
    with database.read() as connection:
        has_rows = connection.execute(select(tables.events.c.seq).limit(1)).first() is not None
    return not has_rows and isinstance(store._backend, Folder) and not any(store.packs())


def take(database: Database, store: Store) -> Copy:
    """Copy what a database and a store hold."""
    with database.read() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(_all(table)).mappings()]
            for table in TABLES
        }
    packs = {pack.id: Path(store.describe(pack.id)).read_bytes() for pack in store.packs()}
    return Copy({name: given for name, given in rows.items() if given}, packs)


def put(copy: Copy, database: Database, store: Store) -> None:
    """Have an empty database and an empty store hold a copy, with trainings that are alive."""
    for pack, content in copy.packs.items():
        path = Path(store.describe(pack))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with database.transaction() as connection:
        for table in TABLES:
            if table.name in copy.rows:
                connection.execute(_into(table, database), copy.rows[table.name])
        _beat(connection)
        if not database.is_sqlite:
            number_on(connection)


def number_on(connection: Connection, numbered: Iterable[Table] = TABLES) -> None:
    """Have PostgreSQL number new rows after those that were given with their numbers."""
    for table in numbered:
        for column in table.primary_key.columns:
            if isinstance(column.type, Integer):
                sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
                last = f"coalesce(max({column.name}), 1)"
                connection.execute(text(f"SELECT setval({sequence}, {last}) FROM {table.name}"))


def _beat(connection: Connection) -> None:
    segments = tables.segments
    beats = segments.c.heartbeat_at.is_not(None) & segments.c.ended_at.is_(None)
    ids = connection.execute(select(segments.c.id).where(beats)).scalars().all()
    connection.execute(update(segments).where(beats).values(heartbeat_at=time.time()))
    for segment in ids:
        seals.renew(connection, segments, segment)


def _all(table: Table) -> Select[Any]:
    """All rows as they are stored: whether NULL or a JSON null is what their seals depend on."""
    return select(*(cast(c, Text).label(c.name) if _is_json(c) else c for c in table.columns))


def _into(table: Table, database: Database) -> Insert:
    values: dict[str, ColumnElement[Any]] = {
        c.name: bindparam(c.name, type_=Text() if _is_json(c) else c.type) for c in table.columns
    }
    if not database.is_sqlite:
        values |= {c.name: cast(values[c.name], JSON) for c in table.columns if _is_json(c)}
    return insert(table).values(values)


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)

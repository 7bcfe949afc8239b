"""The last events of a run, read with only the standard library.

Loading SQLAlchemy takes longer than finding and printing 200 lines. This module answers only the
simplest question: anything unusual is left to `audit`, which knows every kind of database and every
error.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from pathlib import Path

from branchtrack.core.nonfinite import unpacked
from branchtrack.core.records import Event
from branchtrack.db.schema_head import HEAD

_PREFIX = "sqlite:///"
_COLUMNS = ", ".join(field.name for field in fields(Event))


def newest(url: str, run_name: str, limit: int) -> list[Event] | None:
    """Do as `audit.newest`, for the run of exactly that name; None if it cannot answer."""
    path = Path(url.removeprefix(_PREFIX))
    if not url.startswith(_PREFIX) or "?" in url or not path.is_file():
        return None
    try:
        connection = sqlite3.connect(path)
        try:
            return _read(connection, run_name, limit)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeError):
        return None


def _read(connection: sqlite3.Connection, run_name: str, limit: int) -> list[Event] | None:
    revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    run = connection.execute("SELECT id FROM runs WHERE name = ?", (run_name,)).fetchone()
    if revisions != [(HEAD,)] or run is None:
        return None
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM events WHERE run_id = ? ORDER BY seq DESC LIMIT ?", (*run, limit)
    )
    records = [dict(zip(_COLUMNS.split(", "), row, strict=True)) for row in rows]
    return [
        Event(**{**row, "payload": json.loads(row["payload"], object_hook=unpacked)})
        for row in reversed(records)
    ]

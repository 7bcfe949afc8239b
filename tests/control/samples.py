"""A request as people send it, and how many rows a refusal leaves."""

from __future__ import annotations

from sqlalchemy import func, select

from branchtrack.db import tables
from branchtrack.db.engine import Database

SET_LR = {"kind": "set", "values": {"lr": "1e-3"}}


def row_counts(database: Database) -> dict[str, int]:
    """The number of rows of every table, by its name."""
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }

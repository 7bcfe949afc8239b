"""The names that alerts are shown with."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from branchtrack.core.agents.records import Alert
from branchtrack.db.tables import alerts, branches, runs

_CHUNK = 2000


def of(connection: Connection, rows: Collection[Alert]) -> dict[str, tuple[str, str]]:
    """Return the names of run and branch of each alert by id; "" for a branch that is gone."""
    query = (
        select(alerts.c.id, runs.c.name, branches.c.name.label("branch"))
        .join(runs, runs.c.id == alerts.c.run_id)
        .outerjoin(branches, branches.c.id == alerts.c.branch_id)
    )
    ids = [row.id for row in rows]
    names: dict[str, tuple[str, str]] = {}
    for first in range(0, len(ids), _CHUNK):
        chunk = query.where(alerts.c.id.in_(ids[first : first + _CHUNK]))
        names |= {row.id: (row.name, row.branch or "") for row in connection.execute(chunk)}
    return names

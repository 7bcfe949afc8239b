"""What a form that orders trainings needs of a run: the run, and the profiles to choose from.

It makes one statement.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, Connection, Row, Table, select, true

from branchtrack.core.launchers.profiles import Profile
from branchtrack.core.records import Run
from branchtrack.db.orders.tables import launchers
from branchtrack.db.tables import runs
from branchtrack.errors import NotFound


def read(connection: Connection, run_id: str) -> tuple[Run, list[Profile]]:
    """Return a run, and all profiles by name.

    Raises:
        NotFound: there is no such run.
    """
    query = (
        select(runs, launchers)
        .select_from(runs.outerjoin(launchers, true()))
        .where(runs.c.id == run_id)
        .order_by(launchers.c.name)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    rows = connection.execute(query).all()
    if not rows:
        raise NotFound("run", run_id)
    profiles = [_part(row, launchers) for row in rows]
    listed = [Profile(**part) for part in profiles if part["id"] is not None]
    return Run(**_part(rows[0], runs)), listed


def _part(row: Row[Any], table: Table) -> dict[str, Any]:
    return {column.name: row._mapping[f"{table.name}_{column.name}"] for column in table.c}

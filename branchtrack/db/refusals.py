"""How often requests were refused, beyond the refusals that are kept whole.

Counters, not part of the log: how many there were, from which actor, and when the last came.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from branchtrack.core.records import Branch, Refusals
from branchtrack.db import seals
from branchtrack.db.engine import upsert
from branchtrack.db.tables import refusals, requests


def kept_whole(connection: Connection, run_id: str, actor: str, since: float) -> int:
    """Return how many refused requests of an actor a run's record has from ``since`` on."""
    query = select(func.count()).where(
        requests.c.run_id == run_id,
        requests.c.actor == actor,
        requests.c.state == "rejected",
        requests.c.created_at > since,
    )
    return int(connection.execute(query).scalar_one())


def count(connection: Connection, branch: Branch, actor: str, kind: str, times: int = 1) -> None:
    """Count ``times`` more refusals with that kind of error, the last of them now."""
    now = time.time()
    row = upsert(connection, refusals).values(
        run_id=branch.run_id,
        branch_id=branch.id,
        actor=actor,
        kind=kind,
        count=times,
        first_at=now,
        last_at=now,
    )
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["run_id", "branch_id", "actor", "kind"],
            set_={"count": refusals.c.count + times, "last_at": now},
        )
    )
    # The first sealed counter seals those that an earlier version wrote.
    is_first = not seals.all_stored(connection, refusals)
    if is_first:
        seal_all(connection)
        return
    rows = seals.raw(connection, refusals, branch.id, "branch_id")
    counters = [row for row in rows if (row["actor"], row["kind"]) == (actor, kind)]
    _seal(connection, counters)


def seal_all(connection: Connection) -> None:
    """Seal every counter: none of them is."""
    _seal(connection, seals.raw(connection, refusals))


def _seal(connection: Connection, counters: Iterable[Mapping[str, Any]]) -> None:
    sealed = {seals.key_of(refusals, row): seals.of_row(refusals, row) for row in counters}
    seals.write(connection, refusals, sealed)


def of_run(connection: Connection, run_id: str, branch_id: str | None = None) -> list[Refusals]:
    """Return the counters of a run, or of one of its branches, the latest change first."""
    query = select(refusals).where(refusals.c.run_id == run_id)
    query = query if branch_id is None else query.where(refusals.c.branch_id == branch_id)
    rows = connection.execute(query.order_by(refusals.c.last_at.desc()))
    return [Refusals(**row._mapping) for row in rows]

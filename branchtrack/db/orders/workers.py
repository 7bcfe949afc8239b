"""Workers that look for launches at present, and when each was last heard of."""

from __future__ import annotations

import time

from sqlalchemy import Connection, select

from branchtrack.core import lifecycle
from branchtrack.core.records import WorkerRow
from branchtrack.db.engine import upsert
from branchtrack.db.tables import workers

#: Seconds without a sign of life after which a worker counts as gone.
SILENT_AFTER = lifecycle.WORKER_SILENT_AFTER


def beat(connection: Connection, worker: WorkerRow) -> None:
    """Record a worker, or that it still works."""
    row = upsert(connection, workers).values(**vars(worker))
    kept = {name: row.excluded[name] for name in vars(worker) if name not in ("name", "started_at")}
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=kept))


def leave(connection: Connection, name: str) -> None:
    """Forget a worker: it has ended, or is known to be dead."""
    connection.execute(workers.delete().where(workers.c.name == name))


def heard_of(connection: Connection, within: float | None = None) -> list[WorkerRow]:
    """Return the workers, or those heard of ``within`` so many seconds, by name."""
    query = select(workers).order_by(workers.c.name)
    if within is not None:
        query = query.where(workers.c.heartbeat_at > time.time() - within)
    return [WorkerRow(**row._mapping) for row in connection.execute(query)]

"""The queue of launches: which is started next, by whom, and how one is taken out of it.

Every move is a compare-and-set, so of several workers, and of several that recover the launches of
a dead one, exactly one succeeds. It must not know processes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from branchtrack.core import lifecycle
from branchtrack.core.records import Launch
from branchtrack.db import audit, seals, segments
from branchtrack.db.orders import launches as orders
from branchtrack.db.orders import withdrawals
from branchtrack.db.tables import launches
from branchtrack.errors import IllegalTransition

#: The order in which launches are started: the highest priority first, then the oldest.
ORDER = (func.coalesce(launches.c.priority, 0).desc(), launches.c.seq)
_WITH_PROCESS = ("starting", "running")


def claim(
    connection: Connection,
    worker: str,
    launch_id: str | None = None,
    *,
    labels: Collection[str] = (),
    device: str | None = None,
    job: Mapping[str, str | None] | None = None,
) -> Launch | None:
    """Claim the next launch that a worker with ``labels`` may start; None if there is none.

    The launch named by ``launch_id`` is claimed whatever its labels. ``device`` is what it gets.
    One that a cluster carries out is claimed only from within its own ``job``, whose columns these
    are.
    """
    for candidate in _candidates(connection, launch_id, labels, job):
        if still_waits(connection, candidate):
            return orders.move(
                connection,
                candidate,
                "starting",
                worker,
                worker=worker,
                device=device,
                **(job or {}),
            )
    return None


def has_next(
    connection: Connection,
    launch_id: str | None = None,
    *,
    labels: Collection[str] = (),
    job: Mapping[str, str | None] | None = None,
) -> bool:
    """Return whether `claim` would find a launch; asking takes no lock."""
    return next(_candidates(connection, launch_id, labels, job), None) is not None


def still_waits(connection: Connection, launch_id: str) -> bool:
    """Return whether a launch is queued, and keep others from moving it in this transaction."""
    free = select(launches.c.id).where(launches.c.id == launch_id, launches.c.state == "queued")
    return connection.execute(free.with_for_update(skip_locked=True)).first() is not None


def take_over(connection: Connection, launch: Launch, worker: str) -> bool:
    """Give ``launch`` to another worker; False if its state or its worker has changed since."""
    taken = connection.execute(
        launches.update()
        .where(
            launches.c.id == launch.id,
            launches.c.state == launch.state,
            launches.c.worker == launch.worker,
        )
        .values(worker=worker, updated_at=time.time())
    )
    seals.renew(connection, launches, launch.id)
    return bool(taken.rowcount)


def put_back(connection: Connection, launch: Launch, worker: str, **facts: Any) -> Launch:
    """Return a launch of ``worker``'s that trained nothing to the queue; a cancelled one ends.

    ``facts`` are columns to be changed with it.

    Raises:
        IllegalTransition: it has ended, or belongs to another worker by now.
    """
    if orders.get(connection, launch.id).cancel is not None:
        return withdraw_cancelled(connection, launch, worker, owner=worker)
    facts |= {"worker": None, "pid": None, "device": None}
    return orders.move(connection, launch.id, "queued", worker, owner=worker, **facts)


def cancel(connection: Connection, launch_id: str, actor: str) -> Launch | None:
    """Cancel a launch that waits, or mark one whose process its worker then ends.

    Returns:
        The launch: ``cancelled``, or as it was with ``cancel`` set; None if it had ended before.
    """
    launch = orders.get(connection, launch_id)
    if launch.state == "queued":
        try:
            return withdraw_cancelled(connection, launch, actor, actor=actor)
        except IllegalTransition:
            # A worker was faster.
            launch = orders.get(connection, launch_id)
    if launch.state in lifecycle.LAUNCH_ENDS:
        return None
    marked = connection.execute(
        launches.update()
        .where(launches.c.id == launch.id, launches.c.state.in_(_WITH_PROCESS))
        .where(launches.c.cancel.is_(None))
        .values(cancel=actor)
    )
    if marked.rowcount:
        audit.append(
            connection,
            launch.run_id,
            kind="launch",
            ref=launch.id,
            state=audit.ASKED_TO_CANCEL,
            actor=actor,
            payload=seals.renew_for_event(connection, launches, launch.id),
        )
    launch = orders.get(connection, launch_id)
    return launch if launch.cancel is not None else None


def withdraw_cancelled(
    connection: Connection,
    launch: Launch,
    by: str,
    *,
    actor: str | None = None,
    owner: str | None = None,
) -> Launch:
    """End a launch that trained nothing as ``cancelled``, and remove its branch.

    Raises:
        IllegalTransition: it is no longer where it was, or belongs to another than ``owner``.
    """
    why = f"Cancelled by {actor or launch.cancel} before it trained."
    marks = {} if actor is None else {"cancel": actor}
    launch = orders.move(connection, launch.id, "cancelled", by, owner=owner, error=why, **marks)
    segments.end(connection, launch.segment_id, "stopped", actor=by, error=why)
    withdrawals.withdraw(connection, launch, by)
    return launch


def cancelled_among(connection: Connection, launch_ids: Iterable[str]) -> list[Launch]:
    """Return the launches of these that somebody wants ended and that have a process."""
    query = select(launches).where(
        launches.c.id.in_(list(launch_ids)),
        launches.c.state == "running",
        launches.c.cancel.is_not(None),
    )
    return [Launch(**row._mapping) for row in connection.execute(query)]


def devices_in_use(connection: Connection, host: str) -> list[str]:
    """Return the devices of the launches that workers of a host have, one for each launch.

    Until this transaction ends no other worker of that host gets an answer: it would be the same.
    """
    if connection.dialect.name != "sqlite":
        # A transaction of SQLite that writes holds off all others anyway.
        number = zlib.crc32(f"devices of {host}".encode())
        connection.execute(select(func.pg_advisory_xact_lock(number)))
    query = select(launches.c.device).where(
        launches.c.state.in_(_WITH_PROCESS),
        launches.c.device.is_not(None),
        launches.c.worker.startswith(f"{host}:", autoescape=True),
    )
    return list(connection.execute(query).scalars())


def _candidates(
    connection: Connection,
    launch_id: str | None,
    labels: Collection[str],
    job: Mapping[str, str | None] | None,
) -> Iterator[str]:
    query: Select[tuple[str, list[str] | None]] = select(launches.c.id, launches.c.labels)
    query = query.where(launches.c.state == "queued").order_by(*ORDER)
    if launch_id is not None:
        query = query.where(launches.c.id == launch_id)
    if job is None:
        query = query.where(launches.c.launcher.is_(None))
    else:
        is_own = or_(launches.c.job.is_(None), launches.c.job == job["job"])
        query = query.where(launches.c.launcher.is_not(None), is_own)
    for row in connection.execute(query).all():
        if launch_id is not None or set(row.labels or ()) <= set(labels):
            yield row.id

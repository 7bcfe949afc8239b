"""The packs that the record names, and the processes that write them."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from branchtrack.db.tables import packs, segments


def ids(connection: Connection) -> set[str]:
    """The ids of all packs that some checkpoint lies in."""
    return set(connection.execute(select(packs.c.id)).scalars())


def heard_of(connection: Connection) -> dict[str, float]:
    """When each process that has trained was last heard of, by its name; seconds since 1970."""
    last = func.max(segments.c.heartbeat_at)
    query = select(segments.c.process, last).where(segments.c.process.is_not(None))
    return {name: time or 0.0 for name, time in connection.execute(query.group_by("process"))}

"""The training end of the channel: requests that wait for a process, and their expiry."""

from __future__ import annotations

import time

from sqlalchemy import Connection

from branchtrack.core import lifecycle
from branchtrack.core.interventions import SETTING_KINDS, awaited_by
from branchtrack.core.records import Request
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database


def poll(database: Database, segment_id: str) -> list[Request]:
    """Return the requests that wait for the process that trains ``segment_id``, oldest first."""
    with database.read() as connection:
        return requests.waiting(connection, segment_id)


def expire_unanswered(
    connection: Connection, segment_id: str, actor: str, why: str, *, spare: str | None = None
) -> int:
    """Expire the requests of a closing segment but for ``spare``; return how many."""
    left = [
        candidate
        for candidate in requests.unanswered(connection, segment_id)
        if candidate.id != spare
    ]
    for request in left:
        state, error = "expired", why
        if request.state == "applied":
            state, error = "failed", why
            if request.kind in SETTING_KINDS:
                error = f"{requests.APPLIED_BUT} no update has shown what it does. {why}"
        requests.move(connection, request.id, state, actor=actor, error=error)
    return len(left)


def expire_hanging(database: Database, run_id: str, actor: str) -> int:
    """Expire the requests of a run whose processes will never answer, and return how many.

    Anything that shows a run's requests calls this first, so that none seems to wait forever.
    """
    with database.read() as connection:
        waiting = requests.hanging(connection, run_id)
        dead = {}
        for segment_id in {request.segment_id for request in waiting if request.segment_id}:
            segment = segments.get(connection, segment_id)
            status = lifecycle.segment_status(segment, time.time())
            # A segment that waits for its process may have been asked for changes to come.
            if status not in (*lifecycle.LIVE, "waiting") and not _lives_on(
                connection, waiting, segment_id
            ):
                dead[segment_id] = status
    if not dead:
        return 0
    with database.transaction() as connection:
        return sum(
            expire_unanswered(connection, segment_id, actor, f"The run is {status}.")
            for segment_id, status in dead.items()
        )


def successor(connection: Connection, request: Request) -> str | None:
    """Return the segment that a rewind continues in, once it has left its first segment."""
    if awaited_by(request.kind, request.requested) != "segment":
        return None
    segment_id: str | None = (request.result or {}).get("segment")
    return segment_id


def _lives_on(connection: Connection, waiting: list[Request], segment_id: str) -> bool:
    """Return whether the next segment is carrying out a request made to this one."""
    for request in waiting:
        following = successor(connection, request) if request.segment_id == segment_id else None
        if following is not None:
            status = lifecycle.segment_status(segments.get(connection, following), time.time())
            return status in (*lifecycle.LIVE, "waiting")
    return False

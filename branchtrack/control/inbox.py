"""The training end of the channel: what waits for a process, and what nobody will answer."""

from __future__ import annotations

import time

from sqlalchemy import Connection

from branchtrack.core import lifecycle
from branchtrack.core.interventions import SETTING_KINDS, awaited_by
from branchtrack.core.records import Request
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database


def poll(database: Database, segment_id: str) -> list[Request]:
    """The requests that wait for the process that trains ``segment_id``, in order of arrival."""
    with database.read() as connection:
        return requests.waiting(connection, segment_id)


def expire_unanswered(
    connection: Connection, segment_id: str, actor: str, why: str, *, spare: str | None = None
) -> int:
    """End what a closing segment will never answer, but for ``spare``; returns how many."""
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
    """End the requests of a run whose processes will never answer them; returns how many.

    Whoever shows a run's requests calls this first, so that none is shown as waiting for ever.
    """
    with database.read() as connection:
        waiting = requests.hanging(connection, run_id)
        dead = {}
        for segment_id in {request.segment_id for request in waiting if request.segment_id}:
            segment = segments.get(connection, segment_id)
            status = lifecycle.segment_status(segment, time.time())
            if status not in lifecycle.LIVE and not _lives_on(connection, waiting, segment_id):
                dead[segment_id] = status
    if not dead:
        return 0
    with database.transaction() as connection:
        return sum(
            expire_unanswered(connection, segment_id, actor, f"The run is {status}.")
            for segment_id, status in dead.items()
        )


def successor(connection: Connection, request: Request) -> str | None:
    """Return the segment that a rewind continues in, once it has left the one it was asked of."""
    if awaited_by(request.kind) != "segment":
        return None
    segment_id: str | None = (request.result or {}).get("segment")
    return segment_id


def _lives_on(connection: Connection, waiting: list[Request], segment_id: str) -> bool:
    """Whether what a segment was asked for is being carried out by the one that follows it."""
    for request in waiting:
        following = successor(connection, request) if request.segment_id == segment_id else None
        if following is not None:
            status = lifecycle.segment_status(segments.get(connection, following), time.time())
            return status in (*lifecycle.LIVE, "waiting")
    return False

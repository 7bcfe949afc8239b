"""Requests: stored before they are acknowledged, each move appended to the run's event log."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from branchtrack.core import lifecycle
from branchtrack.core.names import new_id
from branchtrack.core.records import Branch, Request
from branchtrack.db import audit
from branchtrack.db.tables import requests
from branchtrack.errors import IllegalTransition, NotFound

#: How the reason begins why a request has failed although its change is in force.
APPLIED_BUT = "It was applied, but"


def add(
    connection: Connection,
    branch: Branch,
    *,
    kind: str,
    payload: dict[str, Any],
    requested: dict[str, Any],
    actor: str,
    reason: str,
) -> Request:
    """Store a request as ``received``, addressed to the process that trains ``branch``."""
    now = time.time()
    request_id = new_id()
    connection.execute(
        requests.insert().values(
            id=request_id, run_id=branch.run_id, branch_id=branch.id,
            segment_id=branch.segment_id, kind=kind, payload=payload, requested=requested,
            actor=actor, reason=reason, state="received", created_at=now, updated_at=now,
        )
    )  # fmt: skip
    audit.append(
        connection, branch.run_id, kind="request", ref=request_id, state="received",
        actor=actor, reason=reason, payload={"kind": kind, **payload},
    )  # fmt: skip
    return get(connection, request_id)


def move(
    connection: Connection, request_id: str, state: str, *, actor: str, **facts: Any
) -> Request:
    """Bring a request to ``state`` with what is known now.

    ``facts``: error, before, applied, effective, result, step, node_id.

    Raises:
        IllegalTransition: its life has no such move, or another process made one first.
    """
    moved = connection.execute(
        requests.update()
        .where(
            requests.c.id == request_id,
            requests.c.state.in_(lifecycle.sources("request", state)),
        )
        .values(state=state, updated_at=time.time(), **facts)
    )
    request = get(connection, request_id)
    if not moved.rowcount:
        raise IllegalTransition("request", request.state, state)
    audit.append(
        connection, request.run_id, kind="request", ref=request_id, state=state, actor=actor,
        step=request.step, reason=request.error or request.reason,
        payload={key: value for key, value in facts.items() if value is not None},
    )  # fmt: skip
    return request


def get(connection: Connection, request_id: str) -> Request:
    """The request with exactly that id."""
    row = connection.execute(select(requests).where(requests.c.id == request_id)).first()
    if row is None:
        raise NotFound("request", request_id)
    return _record(row)


def waiting(connection: Connection, segment_id: str) -> list[Request]:
    """The accepted requests of a segment, in order of arrival."""
    query = (
        select(requests)
        .where(requests.c.segment_id == segment_id, requests.c.state == "accepted")
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def unanswered(connection: Connection, segment_id: str) -> list[Request]:
    """The requests of a segment that have not reached an end."""
    query = (
        select(requests)
        .where(
            requests.c.segment_id == segment_id,
            requests.c.state.not_in(sorted(lifecycle.REQUEST_ENDS)),
        )
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def carried_out(connection: Connection, segment_id: str) -> list[Request]:
    """The changes of settings that a segment has made, in the order made, each with its step.

    Those count that a later one took the place of at once, and those whose node failed.
    """
    query = (
        select(requests)
        .where(
            requests.c.segment_id == segment_id,
            requests.c.kind == "set",
            or_(
                requests.c.state.in_(("applied", "verified", "ineffective", "superseded")),
                requests.c.error.startswith(APPLIED_BUT),
            ),
        )
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def list_of_run(connection: Connection, run_id: str, limit: int = 100) -> list[Request]:
    """The run's newest requests, newest first."""
    query = (
        select(requests)
        .where(requests.c.run_id == run_id)
        .order_by(requests.c.seq.desc())
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(query)]


def of_node(connection: Connection, node_id: str) -> list[Request]:
    """The requests that a node commits, in order of arrival."""
    query = select(requests).where(requests.c.node_id == node_id).order_by(requests.c.seq)
    return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> Request:
    return Request(**row._mapping)

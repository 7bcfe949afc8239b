"""Requests: stored before they are acknowledged, each move appended to the run's event log."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from branchtrack.core import lifecycle
from branchtrack.core.actors import WINDOW, Actor
from branchtrack.core.interventions import REPLAYED_KINDS
from branchtrack.core.names import new_id, storable
from branchtrack.core.plain_values import cleaned
from branchtrack.core.records import Branch, Request
from branchtrack.db import audit, runs, seals, segments
from branchtrack.db.deletion import visibility
from branchtrack.db.notices.channel import tell
from branchtrack.db.tables import requests
from branchtrack.errors import IllegalTransition, NotFound

#: Prefix of the reason why a request has failed although its change is in force.
APPLIED_BUT = "It was applied, but"


def add(
    connection: Connection,
    branch: Branch,
    *,
    kind: str,
    payload: dict[str, Any],
    requested: dict[str, Any],
    actor: Actor,
    reason: str,
    key: str | None = None,
    conditions: dict[str, Any] | None = None,
    step: int | None = None,
    addressed: bool = True,
) -> Request:
    """Store a request as ``received``, addressed to the process that trains ``branch``.

    ``step`` is the branch's present one. One that is not ``addressed`` needs no process.
    """
    now, payload = time.time(), cleaned(payload)
    row = {
        "id": new_id(),
        "run_id": branch.run_id,
        "branch_id": branch.id,
        "segment_id": branch.segment_id if addressed else None,
        "kind": kind,
        "payload": payload,
        "requested": cleaned(requested),
        "actor": actor.label,
        "reason": storable(reason),
        "state": "received",
        "created_at": now,
        "updated_at": now,
        "key": key,
        "conditions": conditions or {},
        "asked_step": step,
        "token_id": actor.token_id,
        "agent_id": actor.agent_id,
        "run_steps": segments.trained_steps(connection, branch.run_id),
        "channel": actor.channel,
    }
    insert = requests.insert().values(**row)
    written = seals.write_row(connection, requests, insert, row["id"])
    assert written is not None
    request = Request(**written[0])
    _log_received(connection, request, payload, written[1])
    return request


def _log_received(
    connection: Connection, request: Request, payload: dict[str, Any], contents: dict[str, str]
) -> None:
    details = {"conditions": request.conditions} if request.conditions else {}
    audit.append(
        connection,
        request.run_id,
        kind="request",
        ref=request.id,
        state="received",
        actor=request.actor,
        step=request.asked_step,
        reason=request.reason,
        payload={
            "kind": request.kind,
            "channel": request.channel,
            **details,
            **payload,
            **contents,
        },
    )


def move(
    connection: Connection,
    request_id: str,
    state: str,
    *,
    actor: str,
    run_id: str = "",
    **facts: Any,
) -> Request:
    """Move a request to ``state`` with the facts known now.

    ``run_id`` is that of its run; whoever gives it saves a statement.

    ``facts``: error, before, applied, effective, requested, result, step, node_id; of a proposal
    that was decided on also decided_by and segment_id.

    Raises:
        IllegalTransition: its life has no such move, or another process made one first.
    """
    facts = cleaned(facts)
    if run_id:
        audit.lock(connection, run_id)
    else:
        audit.lock_of(connection, request_id)
    update = (
        requests.update()
        .where(
            requests.c.id == request_id,
            requests.c.state.in_(lifecycle.sources("request", state)),
        )
        .values(state=state, updated_at=time.time(), **facts)
    )
    moved = seals.write_row(connection, requests, update, request_id)
    if moved is None:
        raise IllegalTransition("request", get(connection, request_id).state, state)
    request, contents = Request(**moved[0]), moved[1]
    audit.append(
        connection,
        request.run_id,
        kind="request",
        ref=request_id,
        state=state,
        actor=actor,
        step=request.step,
        reason=request.error or request.reason,
        payload={
            **{key: value for key, value in facts.items() if value is not None},
            **contents,
        },
    )
    if state != "accepted":
        tell(connection, request_id)
    elif request.segment_id is not None:
        tell(connection, request.segment_id)
    return request


def ask_to_cancel(connection: Connection, request: Request, actor: str) -> bool:
    """Mark a waiting request as no longer wanted; return False if it no longer waits."""
    marked = connection.execute(
        requests.update()
        .where(requests.c.id == request.id, requests.c.state == "accepted")
        .where(requests.c.cancel.is_(None))
        .values(cancel=actor)
    )
    if marked.rowcount:
        audit.append(
            connection,
            request.run_id,
            kind="request",
            ref=request.id,
            state=audit.ASKED_TO_CANCEL,
            actor=actor,
            payload=seals.renew_for_event(connection, requests, request.id),
        )
        if request.segment_id is not None:
            tell(connection, request.segment_id)
    return bool(marked.rowcount) or get(connection, request.id).state == "accepted"


def by_key(connection: Connection, run_id: str, actor: str, key: str) -> Request | None:
    """Return the request that an actor has made of a run under an idempotency key."""
    query = select(requests).where(
        requests.c.run_id == run_id, requests.c.actor == actor, requests.c.key == key
    )
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def with_keys(connection: Connection, segment_ids: Collection[str], prefix: str) -> list[Request]:
    """Return the requests to some segments whose idempotency key begins with ``prefix``."""
    query = (
        select(requests)
        .where(
            requests.c.segment_id.in_(sorted(segment_ids)),
            requests.c.key.startswith(prefix, autoescape=True),
        )
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def count_recent(connection: Connection, run_id: str, token_id: str) -> int:
    """Count the requests, not refused, that a token made in the run's last `WINDOW` updates."""
    since = segments.trained_steps(connection, run_id) - WINDOW
    query = select(func.count()).where(
        requests.c.run_id == run_id,
        requests.c.token_id == token_id,
        requests.c.state != "rejected",
        requests.c.run_steps > since,
    )
    return int(connection.execute(query).scalar_one())


def find(connection: Connection, ref: str) -> Request:
    """Return the request whose id starts with ``ref``.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    row = runs.one_by_prefix(connection, select(requests), requests.c.id, "request", ref)
    if row is None:
        raise NotFound("request", ref)
    return _record(row)


def get(connection: Connection, request_id: str) -> Request:
    """Return the request with exactly that id."""
    row = connection.execute(select(requests).where(requests.c.id == request_id)).first()
    if row is None:
        raise NotFound("request", request_id)
    return _record(row)


def waiting(connection: Connection, segment_id: str) -> list[Request]:
    """Return the accepted requests of a segment, in order of arrival."""
    query = (
        select(requests)
        .where(requests.c.segment_id == segment_id, requests.c.state == "accepted")
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def unanswered(connection: Connection, segment_id: str) -> list[Request]:
    """Return the requests of a segment that have not reached an end."""
    query = (
        select(requests)
        .where(
            requests.c.segment_id == segment_id,
            requests.c.state.not_in(sorted(lifecycle.REQUEST_ENDS)),
        )
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def hanging(connection: Connection, run_id: str) -> list[Request]:
    """Return the requests of a run that have not reached an end, in order of arrival."""
    query = (
        select(requests)
        .where(
            requests.c.run_id == run_id,
            requests.c.state.in_(("received", "accepted", "applied")),
        )
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def carried_out(connection: Connection, segment_id: str) -> list[Request]:
    """Return the changes that a segment has made on request, in order, each with its step.

    Those that a later one replaced at once count, and those whose node failed.
    """
    query = (
        select(requests)
        .where(
            requests.c.segment_id == segment_id,
            requests.c.kind.in_(REPLAYED_KINDS),
            requests.c.step.is_not(None),
            or_(
                requests.c.state.in_(("applied", "verified", "ineffective", "done", "superseded")),
                requests.c.error.startswith(APPLIED_BUT),
            ),
        )
        .order_by(requests.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def proposals(connection: Connection, run_id: str | None = None) -> list[Request]:
    """Return the proposals that wait for a decision, oldest first: of a run, or of all runs.

    Those about what is in the trash do not wait.
    """
    is_listed = visibility.of_visible_runs(requests.c.run_id)
    query = select(requests).where(
        requests.c.state == "proposed",
        is_listed if run_id is None else requests.c.run_id == run_id,
        visibility.of_visible_branches(requests.c.branch_id),
    )
    return [_record(row) for row in connection.execute(query.order_by(requests.c.seq))]


def of_agent(connection: Connection, agent_id: str, limit: int = 50) -> list[Request]:
    """Return the newest requests that an agent made, newest first."""
    query = select(requests).where(requests.c.agent_id == agent_id)
    return [
        _record(row)
        for row in connection.execute(query.order_by(requests.c.seq.desc()).limit(limit))
    ]


def list_of_run(
    connection: Connection,
    run_id: str,
    limit: int | None = 100,
    before: int | None = None,
    *,
    branch_id: str | None = None,
) -> list[Request]:
    """Return the newest requests of a run or branch (``seq`` below ``before``), newest first."""
    query = select(requests).where(requests.c.run_id == run_id)
    query = query if branch_id is None else query.where(requests.c.branch_id == branch_id)
    query = query if before is None else query.where(requests.c.seq < before)
    query = query.order_by(requests.c.seq.desc()).limit(limit)
    return [_record(row) for row in connection.execute(query)]


def count_of_run(connection: Connection, run_id: str) -> int:
    """Return how many requests a run has had."""
    query = select(func.count()).where(requests.c.run_id == run_id)
    return int(connection.execute(query).scalar_one())


def _record(row: Row[Any]) -> Request:
    return Request(**row._mapping)

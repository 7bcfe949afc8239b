"""Deciding on proposals: what is approved is checked again, as if it were asked for now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch, submission
from branchtrack.control.proposals import proposing
from branchtrack.control.request_checks import check_request
from branchtrack.control.text import clean_text
from branchtrack.core import actors, interventions, preconditions
from branchtrack.core.actors import Actor
from branchtrack.core.records import Request
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput

#: The kind of a proposal to train a new branch.
FORK = "resume"


def approve(
    database: Database,
    store: Store,
    request_ref: str,
    *,
    actor: Actor | str,
    home: Path | None = None,
) -> Request:
    """Have a proposal carried out, and return it: accepted, or done with its launch.

    It stays in the name of whoever proposed it; ``decided_by`` is the actor. If it cannot be
    carried out any more it stays as it is, unless its time is over: then it expires.

    Raises:
        NotFound: no such request. Forbidden: the actor may not decide. InvalidInput: it is no
        proposal, has expired, or no longer fits the run. NotLive and others as `submit` and
        `create_launch`.
    """
    database.check_writable()
    who = actors.of(actor)
    request = _waiting(database, request_ref, who)
    if request.kind == FORK:
        return _approve_fork(database, store, request, who)
    with database.transaction() as connection:
        request = _again(connection, request)
        branch = runs.get_branch(connection, request.branch_id)
        payload = {**request.requested, "kind": request.kind}
        checked = check_request(connection, branch, payload, who, request.reason, None, home)
        if checked.intervention.needs_process and branch.segment_id and not checked.wakes:
            segment = segments.get(connection, branch.segment_id)
            stale = preconditions.unmet(request.conditions, segment.settings)
            stale = stale or preconditions.overdue(
                request.conditions, step=segment.step, now=time.time()
            )
            if stale:
                raise _too_late(request, stale)
        accepted = requests.move(
            connection,
            request.id,
            "accepted",
            actor=who.label,
            decided_by=who.label,
            segment_id=branch.segment_id,
        )
        return submission.follow(connection, branch, accepted, checked, who)


def decline(
    database: Database, request_ref: str, *, actor: Actor | str, reason: str = ""
) -> Request:
    """Say no to a proposal, and return it.

    Raises:
        NotFound: no such request. Forbidden: the actor may not decide. InvalidInput: it is no
        proposal that waits.
    """
    database.check_writable()
    who, why = actors.of(actor), clean_text("reason", reason)
    request = _waiting(database, request_ref, who)
    actors.check(who, "decide", _names(request))
    with database.transaction() as connection:
        request = _again(connection, request)
        error = why or "It was declined without a reason."
        return requests.move(
            connection,
            request.id,
            "declined",
            actor=who.label,
            decided_by=who.label,
            error=error,
        )


def _approve_fork(database: Database, store: Store, request: Request, who: Actor) -> Request:
    order = _order(request.requested)
    with database.read() as connection:
        node = nodes.find(connection, order["node"])
        launch.check_allowed(connection, node, order, who, request.reason)
    checked = launch.check_order(database, store, node, order, None)
    with database.transaction() as connection:
        request = _again(connection, request)
        request = requests.move(
            connection, request.id, "accepted", actor=who.label, decided_by=who.label
        )
        launch.queue(connection, checked, who, request.reason, {}, request)
        return requests.get(connection, request.id)


def _order(requested: Mapping[str, Any]) -> dict[str, Any]:
    return {key: requested.get(key) for key in ("node", "mode", "name", "settings")}


def _names(request: Request) -> list[str]:
    """Return what a proposal is about, as the names that a token can be limited to."""
    if request.kind == FORK:
        return ["resume", *(request.requested.get("settings") or {})]
    return interventions.names_of(request.kind, request.requested)


def _waiting(database: Database, request_ref: str, who: Actor) -> Request:
    """Return a proposal that waits, as ``who`` may decide on it."""
    actors.check(who, "decide")
    with database.transaction() as connection:
        request = requests.find(connection, request_ref)
        branch = runs.get_branch(connection, request.branch_id)
        run = runs.get_run(connection, request.run_id)
        if run.trashed_at is not None or branch.trashed_at is not None:
            hidden = run.name if run.trashed_at is not None else f"{run.name}/{branch.name}"
            raise runs.trashed_error("request", request_ref, hidden)
        if request.state == "proposed":
            proposing.expire_overdue(connection, who.label, request.run_id)
    return _proposed(request) if request.state != "proposed" else _current(database, request)


def _current(database: Database, request: Request) -> Request:
    with database.read() as connection:
        return _proposed(requests.get(connection, request.id))


def _again(connection: Connection, request: Request) -> Request:
    """Return a proposal as it is inside the lock of its run: another may have decided."""
    audit.lock(connection, request.run_id)
    return _proposed(requests.get(connection, request.id))


def _proposed(request: Request) -> Request:
    if request.state != "proposed":
        by = f" by {request.decided_by}" if request.decided_by else ""
        raise InvalidInput(
            "request",
            request.id,
            "a proposal that waits for a decision",
            what=f"Request {request.id} is {request.state}{by}: there is nothing to decide.",
        )
    return request


def _too_late(request: Request, why: str) -> InvalidInput:
    return InvalidInput(
        "request",
        request.id,
        "a proposal that still fits the run; decline it, and ask for what fits now",
        what=f"The run has changed since step {request.asked_step}. {why}",
    )

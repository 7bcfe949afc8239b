"""The requesting end of the channel: requests are authorised, validated, and stored or refused.

Refusals are recorded, too, if the run exists. It knows no trainer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.control import continuation, launch_settings, refusals
from branchtrack.control.inbox import expire_unanswered
from branchtrack.control.proposals import proposing
from branchtrack.control.request_checks import CheckedRequest, check_request
from branchtrack.control.text import clean_text, shortened
from branchtrack.core import (
    actors,
    interventions,
    lifecycle,
    preconditions,
)
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import declared
from branchtrack.core.interventions import Rewind
from branchtrack.core.names import storable
from branchtrack.core.records import Branch, Request
from branchtrack.core.settings import Setting
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.error_payload import error_payload
from branchtrack.errors import (
    Forbidden,
    InvalidInput,
    LaunchFailed,
    NotFound,
    NotLive,
    RateLimited,
)

#: Errors of a request to a run that exists; the refusal is recorded.
REFUSALS = (InvalidInput, NotLive, Forbidden, RateLimited, NotFound, LaunchFailed)


def submit(
    database: Database,
    branch_ref: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor | str,
    reason: str = "",
    when: Mapping[str, Any] | None = None,
    key: str | None = None,
    home: Path | None = None,
    propose: bool = False,
) -> Request:
    """Send a request to the process that trains a branch, and return the accepted request.

    With ``propose`` it is stored as ``proposed`` and waits for a person (see `proposals`).

    ``when`` are conditions (`core.preconditions`). The same ``key`` from the same actor is the same
    request: it is stored once, and later calls return it in its current state.

    A branch whose pause has ended its process is continued by a launch, named in the result; a
    project that was moved together with its ``home`` is found there.

    Raises:
        NotFound: no such branch. NotLive: no process trains it. InvalidInput: the payload is not
        valid. Forbidden, RateLimited: the actor may not make the request. All but the first are
        recorded.
    """
    who, refusal = actors.of(actor), None
    why = clean_text("reason", reason)
    if propose:
        when = proposing.conditions(when)
    if key is not None and not _is_key(key):
        raise InvalidInput("key", key, "text of 1 to 200 characters")
    arguments = shortened({name: value for name, value in payload.items() if name != "kind"})
    kind = storable(str(payload.get("kind")))[:32]
    with database.transaction() as connection:
        branch = runs.find_branch(connection, branch_ref)
        audit.lock(connection, branch.run_id)
        earlier = _same(connection, branch, who, key, kind, arguments)
        if earlier is not None:
            return earlier
        step = _step(connection, branch)
        facts: dict[str, Any] = {"kind": kind, "payload": arguments, "reason": why, "step": step}
        try:
            checked = check_request(connection, branch, payload, who, why, when, home)
            requested = checked.intervention.model_dump(exclude={"kind"}, exclude_defaults=True)
        except REFUSALS as error:
            refusal = error
            refusals.record(connection, branch, who, error, **facts)
        else:
            facts |= {"requested": requested, "conditions": checked.conditions, "key": key}
            store = _propose if propose else _accept
            request = store(connection, branch, who, checked, facts)
    if refusal is not None:
        raise refusal
    return request


def preview(
    database: Database,
    branch_ref: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor | str,
    reason: str = "",
    when: Mapping[str, Any] | None = None,
    home: Path | None = None,
) -> dict[str, Any]:
    """Return what a request would change, if it is valid and when it would apply; send nothing.

    The result has ``valid``, ``error`` (an error's ``type what field fix``, or None), ``describe``,
    ``changes`` (``name before after effect`` each, from the values that the process last reported),
    ``step`` that the run has reached, and ``unmet`` (the condition that would stop the request now,
    or "").

    Raises:
        NotFound: no such branch.
    """
    who = actors.of(actor)
    with database.read() as connection:
        branch = runs.find_branch(connection, branch_ref)
        report: dict[str, Any] = {"valid": True, "error": None, "step": _step(connection, branch)}
        try:
            checked = check_request(
                connection, branch, payload, who, clean_text("reason", reason), when, home
            )
        except REFUSALS as error:
            unusable = {"valid": False, "error": error_payload(error)}
            return {**report, **unusable, "describe": "", "changes": [], "unmet": ""}
        segment = segments.get(connection, branch.segment_id or "")
        declarations, current = declared(segment.declared), segment.settings
        if isinstance(checked.intervention, Rewind):
            # The settings that it starts from are those of its node.
            node = nodes.get(connection, checked.intervention.node)
            declarations, current = launch_settings.resume_settings(connection, node), node.settings
    values = getattr(checked.intervention, "values", {})
    return {
        **report,
        "describe": checked.intervention.describe(),
        "changes": _changes(values, current, declarations),
        "unmet": preconditions.unmet(checked.conditions, segment.settings),
    }


def _changes(
    values: Mapping[str, Any], current: Mapping[str, Any], declarations: Mapping[str, Setting]
) -> list[dict[str, Any]]:
    """Return what new values of settings would change."""
    return [
        {
            "name": name,
            "before": current.get(name),
            "after": value,
            "effect": declarations[name].effect if name in declarations else "",
            "same": current.get(name) == value,
        }
        for name, value in values.items()
    ]


def cancel(database: Database, request_ref: str, *, actor: Actor | str) -> Request:
    """Request the cancellation of a waiting request; the training process answers whether in time.

    Returns the request as it is now; `wait` returns the outcome.

    Raises:
        NotFound: no such request. Forbidden: the actor may not cancel it. InvalidInput: it has been
        carried out, or has ended.
    """
    who = actors.of(actor)
    with database.transaction() as connection:
        request = requests.find(connection, request_ref)
        requested = request.requested or request.payload
        actors.check(who, "cancel", interventions.names_of(request.kind, requested))
        actors.check_author(who, request.actor, f"make request {request.id}", "requests")
        audit.lock(connection, request.run_id)
        # Read again inside the lock.
        request = requests.get(connection, request.id)
        if request.state == "proposed":
            return requests.move(
                connection, request.id, "cancelled", actor=who.label, error="It was withdrawn."
            )
        waits = request.state == "accepted" and request.segment_id is not None
        segment = segments.get(connection, request.segment_id or "") if waits else None
        answering = (*lifecycle.LIVE, "waiting")
        if segment and lifecycle.segment_status(segment, time.time()) not in answering:
            expire_unanswered(connection, segment.id, who.label, "Nothing trains this branch now.")
        elif not waits or not requests.ask_to_cancel(connection, request, who.label):
            raise InvalidInput(
                "request",
                request.id,
                "a request that waits",
                what=f"Request {request.id} is {request.state}: it is too late to cancel it.",
            )
        return requests.get(connection, request.id)


def _same(
    connection: Connection,
    branch: Branch,
    who: Actor,
    key: str | None,
    kind: str,
    arguments: dict[str, Any],
) -> Request | None:
    """Return the request that was made under the same key before.

    Raises:
        InvalidInput: the key was used for a different request.
    """
    earlier = None if key is None else requests.by_key(connection, branch.run_id, who.label, key)
    if earlier is None:
        return None
    if (earlier.branch_id, earlier.kind, earlier.payload) != (branch.id, kind, arguments):
        raise InvalidInput(
            "key",
            key,
            "another key, or the same request again",
            what=f"The key was used for request {earlier.id}, which asks for something else.",
        )
    return earlier


def _accept(
    connection: Connection,
    branch: Branch,
    who: Actor,
    checked: CheckedRequest,
    facts: Mapping[str, Any],
) -> Request:
    """Store a request, and carry out what needs no training process."""
    request = requests.add(connection, branch, actor=who, **facts)
    request = requests.move(
        connection, request.id, "accepted", actor=who.label, run_id=request.run_id
    )
    return follow(connection, branch, request, checked, who)


def follow(
    connection: Connection, branch: Branch, request: Request, checked: CheckedRequest, who: Actor
) -> Request:
    """Carry out what an accepted request needs no training process for; return it as it is then."""
    if checked.wakes:
        launch = continuation.wake(connection, branch, who, request.reason, checked.command)
        result = {"launch": launch.id, "node": launch.fork_node_id}
        return _finish(connection, request, who, result)
    if not checked.intervention.needs_process:
        return _finish(connection, request, who)
    return request


def _finish(
    connection: Connection, request: Request, who: Actor, result: dict[str, Any] | None = None
) -> Request:
    """End a request that is complete once it is recorded."""
    requests.move(connection, request.id, "applied", actor=who.label, step=request.asked_step)
    return requests.move(connection, request.id, "done", actor=who.label, result=result)


def _is_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= 200 and storable(key) == key


def _propose(
    connection: Connection,
    branch: Branch,
    who: Actor,
    checked: CheckedRequest,
    facts: Mapping[str, Any],
) -> Request:
    """Store a request that waits for a decision."""
    current = segments.get(connection, branch.segment_id).settings if branch.segment_id else {}
    conditions = proposing.as_seen(checked.conditions, checked.intervention, current)
    request = requests.add(connection, branch, actor=who, **{**facts, "conditions": conditions})
    return requests.move(connection, request.id, "proposed", actor=who.label)


def _step(connection: Connection, branch: Branch) -> int | None:
    if branch.segment_id is None:
        return None
    return segments.get(connection, branch.segment_id).step

"""The requesting end of the channel: requests are authorised, validated, and stored or refused.

Refusals are recorded, too, if the run exists. It knows no trainer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.control import continuation, launch, refusals
from branchtrack.control.inbox import expire_unanswered
from branchtrack.control.text import clean_text, shortened
from branchtrack.core import (
    actors,
    capabilities,
    interventions,
    lifecycle,
    plain_values,
    preconditions,
)
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import declared
from branchtrack.core.interventions import Intervention, Rewind, SetSettings, Unpause
from branchtrack.core.names import free_name, storable, valid_name
from branchtrack.core.overrides import check_length
from branchtrack.core.records import Branch, Request, Segment
from branchtrack.core.settings import Setting
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.error_payload import error_payload
from branchtrack.errors import (
    Forbidden,
    InvalidInput,
    LaunchFailed,
    NameTaken,
    NotFound,
    NotLive,
    RateLimited,
)

#: Errors of a request to a run that exists; the refusal is recorded.
REFUSALS = (InvalidInput, NotLive, Forbidden, RateLimited, NotFound, LaunchFailed)


@dataclass(frozen=True)
class _Checked:
    """A valid request: the intervention, and its conditions in the form that is stored.

    ``wakes``: it needs a new process, as the branch's own has ended for a pause.
    """

    intervention: Intervention
    conditions: dict[str, Any]
    wakes: bool = False


def submit(
    database: Database,
    branch_ref: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor | str,
    reason: str = "",
    when: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Request:
    """Send a request to the process that trains a branch, and return the accepted request.

    ``when`` are conditions (`core.preconditions`). The same ``key`` from the same actor is the same
    request: it is stored once, and later calls return it in its current state.

    A branch whose pause has ended its process is continued by a launch, named in the result.

    Raises:
        NotFound: no such branch. NotLive: no process trains it. InvalidInput: the payload is not
        valid. Forbidden, RateLimited: the actor may not make the request. All but the first are
        recorded.
    """
    who, refusal = actors.of(actor), None
    why = clean_text("reason", reason)
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
            checked = _check(connection, branch, payload, who, why, when)
            requested = checked.intervention.model_dump(exclude={"kind"}, exclude_defaults=True)
        except REFUSALS as error:
            refusal = error
            refusals.record(connection, branch, who, error, **facts)
        else:
            facts |= {"requested": requested, "conditions": checked.conditions, "key": key}
            request = requests.add(connection, branch, actor=who, **facts)
            request = requests.move(connection, request.id, "accepted", actor=who.label)
            if checked.wakes:
                launch = continuation.wake(connection, branch, who, why)
                result = {"launch": launch.id, "node": launch.fork_node_id}
                request = _finish(connection, request, who, result)
            elif not checked.intervention.needs_process:
                request = _finish(connection, request, who)
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
            checked = _check(connection, branch, payload, who, clean_text("reason", reason), when)
        except REFUSALS as error:
            return {
                **report,
                "valid": False,
                "error": error_payload(error),
                "describe": "",
                "changes": [],
                "unmet": "",
            }
        segment = segments.get(connection, branch.segment_id or "")
    declarations, current = declared(segment.declared), segment.settings
    values = getattr(checked.intervention, "values", {})
    changes = [
        {
            "name": name,
            "before": current.get(name),
            "after": value,
            "effect": declarations[name].effect if name in declarations else "",
            "same": current.get(name) == value,
        }
        for name, value in values.items()
    ]
    unmet = preconditions.unmet(checked.conditions, current)
    return {
        **report,
        "describe": checked.intervention.describe(),
        "changes": changes,
        "unmet": unmet,
    }


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
        if who.role == "agent" and request.actor != who.label:
            raise Forbidden(
                f"{who.label} did not make request {request.id}.",
                safe="Nothing was changed.",
                fix="An agent can cancel its own requests.",
                actor=who.label,
                role=who.role,
            )
        audit.lock(connection, request.run_id)
        # Read again inside the lock.
        request = requests.get(connection, request.id)
        waits = request.state == "accepted" and request.segment_id is not None
        segment = segments.get(connection, request.segment_id or "") if waits else None
        if segment and lifecycle.segment_status(segment, time.time()) not in lifecycle.LIVE:
            expire_unanswered(connection, segment.id, who.label, "Nothing trains this branch now.")
        elif not waits or not requests.ask_to_cancel(connection, request, who.label):
            raise InvalidInput(
                "request",
                request.id,
                "a request that waits",
                what=f"Request {request.id} is {request.state}: it is too late to cancel it.",
            )
        return requests.get(connection, request.id)


def live_segment(connection: Connection, branch: Branch) -> Segment:
    """Return the segment in which a process trains ``branch`` now.

    Raises:
        NotLive: no process trains it; the error lists the run's branches that are training.
    """
    current = {
        other.name: segments.get(connection, other.segment_id)
        for other in runs.list_branches(connection, branch.run_id)
        if other.segment_id is not None
    }
    now = time.time()
    statuses = {name: lifecycle.segment_status(segment, now) for name, segment in current.items()}
    status = statuses.get(branch.name, "empty")
    if status in lifecycle.LIVE:
        return current[branch.name]
    run = runs.get_run(connection, branch.run_id)
    live = [f"{run.name}/{name}" for name, word in statuses.items() if word in lifecycle.LIVE]
    fix = f"`branchtrack tree {run.name}` lists the nodes that can be resumed."
    if status == "waiting":
        fix = "Its process has not begun to train; try again when it has."
    elif status == lifecycle.SUSPENDED:
        fix = f"Its pause has ended its process: `branchtrack unpause {run.name}/{branch.name}`."
    elif live:
        fix = f"Training now: {', '.join(live)}."
    raise NotLive(
        f"Nothing trains {run.name}/{branch.name} now: it is {lifecycle.shown(status)}.",
        safe="Nothing was changed.",
        fix=fix,
        branch=branch.name,
        status=status,
    )


def _check(
    connection: Connection,
    branch: Branch,
    payload: Mapping[str, Any],
    who: Actor,
    why: str,
    when: Mapping[str, Any] | None,
) -> _Checked:
    """Check all that can be known of a request before the training process sees it."""
    actors.check(who, "request")
    actors.check_reason(who, why)
    plain_values.check(payload, "")
    plain_values.check(when or {}, "")
    typed = interventions.read(payload)
    actors.check(who, "request", typed.names_of(typed.model_dump()))
    if who.limit is not None and who.token_id is not None:
        actors.check_limit(who, requests.count_recent(connection, branch.run_id, who.token_id))
    if not typed.needs_process:
        return _Checked(typed, {})
    if isinstance(typed, Unpause) and continuation.is_suspended(connection, branch):
        actors.check(who, "launch", ["unpause"])
        continuation.check_wakeable(connection, branch)
        return _Checked(typed, {}, wakes=True)
    segment = live_segment(connection, branch)
    declarations = declared(segment.declared)
    if who.channel == "api":
        _refuse_words(typed, declarations)
    intervention = typed.validated(declarations, capabilities.read(segment.offers))
    if isinstance(intervention, SetSettings):
        # This is what can be seen from here; the process checks again.
        check_length(segment.step, segment.settings, intervention.values)
    if isinstance(intervention, Rewind):
        intervention = _check_rewind(connection, branch, intervention)
    conditions = preconditions.parse(when or {}, declarations, step=segment.step, now=time.time())
    return _Checked(intervention, conditions)


def _refuse_words(intervention: Intervention, declarations: Mapping[str, Setting]) -> None:
    """Refuse words as truth values in JSON, which has its own, unlike shells and forms."""
    for name, value in getattr(intervention, "values", {}).items():
        if name in declarations and declarations[name].dtype == "bool" and isinstance(value, str):
            raise InvalidInput(name, value, declarations[name].allowed)


def _check_rewind(connection: Connection, branch: Branch, rewind: Rewind) -> Rewind:
    node = nodes.find(connection, rewind.node)
    run = runs.get_run(connection, branch.run_id)
    if node.run_id != branch.run_id:
        raise InvalidInput("node", rewind.node, f"a node of run {run.name}")
    values = launch.validate_launch(connection, node, rewind.values)
    if rewind.name is not None:
        valid_name(rewind.name)
        taken = {other.name for other in runs.list_branches(connection, branch.run_id)}
        if rewind.name in taken:
            raise NameTaken("branch", rewind.name, free_name(rewind.name, taken))
    return Rewind(node=node.id, name=rewind.name, values=values)


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


def _finish(
    connection: Connection, request: Request, who: Actor, result: dict[str, Any] | None = None
) -> Request:
    """End a request that is complete once it is recorded."""
    requests.move(connection, request.id, "applied", actor=who.label, step=request.asked_step)
    return requests.move(connection, request.id, "done", actor=who.label, result=result)


def _is_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= 200 and storable(key) == key


def _step(connection: Connection, branch: Branch) -> int | None:
    if branch.segment_id is None:
        return None
    return segments.get(connection, branch.segment_id).step

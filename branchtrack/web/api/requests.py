"""The API for changes: settings of a branch, requests, and their events.

Every request goes through `control`, as from the shell and the pages. It writes no markup.
"""

from __future__ import annotations

import threading
from typing import Any

from flask import Blueprint, Response, jsonify, url_for
from flask import request as http

from branchtrack import control
from branchtrack.analysis import payloads_audit, payloads_requests, payloads_steering
from branchtrack.core import lifecycle
from branchtrack.core.preconditions import NAMES as CONDITIONS
from branchtrack.core.records import Request
from branchtrack.core.settings import Setting
from branchtrack.db import audit, refusals, requests, runs
from branchtrack.errors import InvalidInput, NotAnswered, NotLive
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.input.json_body import fields, optional_text
from branchtrack.web.services import services

blueprint = Blueprint("api_requests", __name__, url_prefix="/api/v1")
_WAIT = Setting("wait", minimum=0, maximum=30, unit="seconds")
_PAGE, _MOST = 200, 1000
#: Each answer that is waited for holds a thread of the server; beyond that requests return at once.
_waiting = threading.BoundedSemaphore(8)


@blueprint.get("/runs/<run>/branches/<branch>/settings")
def settings(run: str, branch: str) -> Response:
    """Return the settings and actions of a branch."""
    with services().database.read() as connection:
        branch_record = runs.find_branch(connection, f"{run}/{branch}")
        return jsonify(payloads_steering.settings(connection, branch_record))


@blueprint.post("/runs/<run>/branches/<branch>/requests")
def submit(run: str, branch: str) -> tuple[Response, int, dict[str, str]]:
    """Submit a request to a branch: 202 with the request, or 200 if the key was used before.

    With ``?wait=SECONDS`` it answers once the request has ended, or when the time is over.
    """
    seconds = _WAIT.validate(http.args.get("wait") or 0.0)
    payload, more = _parted(fields())
    key = more.pop("key")
    earlier_id = _known(run, branch, key)
    request = control.submit(
        services().database,
        f"{run}/{branch}",
        payload,
        actor=actor(),
        key=key,
        home=services().config.home,
        **more,
    )
    if seconds:
        request = _awaited(request, seconds)
    location = url_for("api_requests.show", request_id=request.id)
    return (
        jsonify(payloads_requests.request(request)),
        200 if earlier_id == request.id else 202,
        {"Location": location},
    )


@blueprint.post("/runs/<run>/branches/<branch>/preview")
def preview(run: str, branch: str) -> Response:
    """Return what a request would change, and whether it is valid; nothing is sent."""
    payload, more = _parted(fields())
    del more["key"]
    result = control.preview(
        services().database,
        f"{run}/{branch}",
        payload,
        actor=actor(),
        home=services().config.home,
        **more,
    )
    return jsonify(result)


@blueprint.get("/requests/<request_id>")
def show(request_id: str) -> Response:
    """Return a request in its current state."""
    with services().database.read() as connection:
        request = requests.find(connection, request_id)
    if request.state not in lifecycle.REQUEST_ENDS:
        expire(request.run_id)
        with services().database.read() as connection:
            request = requests.get(connection, request.id)
    return jsonify(payloads_requests.request(request))


@blueprint.post("/requests/<request_id>/cancel")
def cancel(request_id: str) -> tuple[Response, int]:
    """Ask for the cancellation of a request; only its process can say whether that was in time."""
    request = control.cancel(services().database, request_id, actor=actor())
    over = request.state in lifecycle.REQUEST_ENDS
    return jsonify(payloads_requests.request(request)), 200 if over else 202


@blueprint.get("/runs/<run>/requests")
def list_requests(run: str) -> Response:
    """Return a run's requests, newest first; ``before`` is the ``next`` of the page before."""
    limit = _limit()
    with services().database.read() as connection:
        run_id = runs.find_run(connection, run).id
    expire(run_id)
    with services().database.read() as connection:
        rows = requests.list_of_run(connection, run_id, limit + 1, query.whole("before", 1))
        total = requests.count_of_run(connection, run_id)
    shown = [payloads_requests.request(row) for row in rows[:limit]]
    more = shown[-1]["seq"] if len(rows) > limit else None
    return jsonify({"requests": shown, "total": total, "next": more})


@blueprint.get("/runs/<run>/audit")
def log(run: str) -> Response:
    """Return events after line ``after``, oldest first; ``next`` is the ``after`` of the next page.

    ``refused`` holds counts of requests that were refused and not stored, by branch, actor and
    error.
    """
    after, limit = query.whole("after") or 0, _limit()
    with services().database.read() as connection:
        run_id = runs.find_run(connection, run).id
        events = audit.after(connection, run_id, after, limit)
        counted = refusals.of_run(connection, run_id)
    lines = [payloads_audit.event(row) for row in events]
    return jsonify(
        {
            "events": lines,
            "next": lines[-1]["seq"] if lines else after,
            "refused": [payloads_requests.refusals(row) for row in counted],
        }
    )


def expire(run_id: str) -> None:
    """Expire the requests of a run that will never be answered, before they are shown."""
    control.expire_hanging(services().database, run_id, control.local_actor())


def _parted(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a body into the intervention, and ``reason``, ``when`` and ``key``."""
    when = {name: body.pop(name) for name in CONDITIONS if name in body}
    reason = optional_text({"reason": body.pop("reason", "")}, "reason", "")
    return body, {"reason": reason, "when": when, "key": body.pop("key", None)}


def _known(run: str, branch: str, key: object) -> str | None:
    """Return the id of the request that was made under that key before."""
    if not isinstance(key, str):
        return None
    with services().database.read() as connection:
        run_id = runs.find_branch(connection, f"{run}/{branch}").run_id
        request = requests.by_key(connection, run_id, actor().label, key)
    return None if request is None else request.id


def _awaited(request: Request, seconds: float) -> Request:
    """Return the request once it has ended, or as it is when the time is over."""
    if _waiting.acquire(blocking=False):
        try:
            return control.wait(services().database, request.id, seconds)
        except (NotAnswered, NotLive):
            pass
        finally:
            _waiting.release()
    with services().database.read() as connection:
        return requests.get(connection, request.id)


def _limit() -> int:
    limit = query.whole("limit", 1) or _PAGE
    if limit > _MOST:
        raise InvalidInput("limit", limit, f"at most {_MOST:,}")
    return limit

"""The API for changes: settings of a branch, requests, and their answers.

Every request goes through `control`, as from the shell and the pages. It writes no markup.
"""

from __future__ import annotations

import threading
from typing import Any

from flask import Blueprint, url_for

from branchtrack import control
from branchtrack.analysis import payloads_requests, payloads_steering
from branchtrack.core import lifecycle
from branchtrack.core.preconditions import NAMES as CONDITIONS
from branchtrack.core.records import Request
from branchtrack.db import requests, runs
from branchtrack.errors import InvalidInput, NotAnswered, NotLive
from branchtrack.schemas import requests as models
from branchtrack.schemas.bases import Selection, storable_text
from branchtrack.schemas.steering import Settings
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_requests", __name__, url_prefix="/api/v1")
#: Each answer that is waited for holds a thread of the server; beyond that requests return at once.
_waiting = threading.BoundedSemaphore(8)


@blueprint.get("/runs/<run>/branches/<branch>/settings")
@documented(Settings, query=Selection)
def settings(run: str, branch: str) -> Any:
    """Return the settings and actions of a branch."""
    with services().database.read() as connection:
        branch_record = runs.find_branch(connection, f"{run}/{branch}")
        return payloads_steering.settings(connection, branch_record)


@blueprint.post("/runs/<run>/branches/<branch>/requests")
@documented(
    {200: models.Request, 202: models.Request},
    query=models.WaitQuery,
    body=models.RequestBody,
    deed="request",
    recorded=True,
)
def submit(run: str, branch: str, query: models.WaitQuery, body: dict[str, Any]) -> Any:
    """Submit a request to a branch: 202 with the request, or 200 if the key was used before.

    With ``?wait=SECONDS`` it answers once the request has ended, or when the time is over.
    """
    payload, more = _parted(body)
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
    if query.wait:
        request = _awaited(request, query.wait)
    location = url_for("api_requests.show", request_id=request.id)
    return (
        payloads_requests.request(request),
        200 if earlier_id == request.id else 202,
        {"Location": location},
    )


@blueprint.post("/runs/<run>/branches/<branch>/preview")
@documented(models.Preview, body=models.RequestBody, deed="request", recorded=True)
def preview(run: str, branch: str, body: dict[str, Any]) -> Any:
    """Return what a request would change, and whether it is valid; nothing is sent."""
    payload, more = _parted(body)
    del more["key"], more["propose"]
    return control.preview(
        services().database,
        f"{run}/{branch}",
        payload,
        actor=actor(),
        home=services().config.home,
        **more,
    )


@blueprint.get("/requests/<request_id>")
@documented(models.Request, query=Selection)
def show(request_id: str) -> Any:
    """Return a request in its current state."""
    with services().database.read() as connection:
        request = requests.find(connection, request_id)
    if request.state not in lifecycle.REQUEST_ENDS:
        expire(request.run_id)
        with services().database.read() as connection:
            request = requests.get(connection, request.id)
    return payloads_requests.request(request)


@blueprint.post("/requests/<request_id>/cancel")
@documented({200: models.Request, 202: models.Request}, deed="cancel")
def cancel(request_id: str) -> Any:
    """Ask for the cancellation of a request; only its process can say whether that was in time."""
    request = control.cancel(services().database, request_id, actor=actor())
    over = request.state in lifecycle.REQUEST_ENDS
    return payloads_requests.request(request), 200 if over else 202


@blueprint.get("/runs/<run>/requests")
@documented(models.RequestPage, query=models.RequestsQuery)
def list_requests(run: str, query: models.RequestsQuery) -> Any:
    """Return a run's requests, newest first."""
    limit = query.limit
    with services().database.read() as connection:
        run_id = runs.find_run(connection, run).id
    expire(run_id)
    with services().database.read() as connection:
        rows = requests.list_of_run(connection, run_id, limit + 1, query.before)
        total = requests.count_of_run(connection, run_id)
    shown = [payloads_requests.request(row) for row in rows[:limit]]
    more = shown[-1]["seq"] if len(rows) > limit else None
    return {"requests": shown, "total": total, "next": more}


def expire(run_id: str) -> None:
    """Expire the requests of a run that will never be answered, before they are shown."""
    control.expire_hanging(services().database, run_id, control.local_actor())


def _parted(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a body into the intervention, and ``reason``, ``when``, ``key`` and ``propose``."""
    when = {name: body.pop(name) for name in CONDITIONS if name in body}
    reason = body.pop("reason", "")
    if not isinstance(reason, str):
        raise InvalidInput("reason", reason, "text")
    try:
        storable_text(reason)
    except ValueError as error:
        raise InvalidInput("reason", reason, str(error)) from error
    propose = body.pop("propose", False)
    if not isinstance(propose, bool):
        raise InvalidInput("propose", propose, "true or false")
    return body, {"reason": reason, "when": when, "key": body.pop("key", None), "propose": propose}


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

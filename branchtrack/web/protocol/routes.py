"""The routes of Interactive Training 2: ``state|actions|events`` below a branch, or at the root.

Clients poll: this server has no WebSocket.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from sqlalchemy import Connection

from branchtrack import control
from branchtrack.analysis import payloads_steering
from branchtrack.control.text import shortened
from branchtrack.core.names import storable
from branchtrack.core.records import Branch, Request
from branchtrack.db import requests, runs
from branchtrack.db.views import branch_stream
from branchtrack.errors import BranchtrackError, Forbidden, InvalidInput, NotFound, NotLive
from branchtrack.schemas.protocol import ActionBody
from branchtrack.web.access import identity
from branchtrack.web.access.guards import actor
from branchtrack.web.input import json_body, models, query
from branchtrack.web.protocol import actions, events, state
from branchtrack.web.rendering import now
from branchtrack.web.services import services

blueprint = Blueprint("it", __name__, url_prefix="/it/<run>/<branch>")
#: The same for one branch, at the root of the server.
root_blueprint = Blueprint("it_root", __name__)
_BRANCH = "BRANCHTRACK_PROTOCOL"


def mount(app: Flask, branch_ref: str | None) -> None:
    """Add the routes to an application; those at the root speak for ``branch_ref``, if given."""
    app.register_blueprint(blueprint)
    if branch_ref is not None:
        app.config[_BRANCH] = branch_ref
        app.config[identity.JSON_PATHS] = ("/state", "/events", "/actions")
        app.register_blueprint(root_blueprint)


@root_blueprint.get("/state", defaults={"run": "", "branch": ""})
@blueprint.get("/state")
def show_state(run: str, branch: str) -> Response:
    """Return what the branch is and can be asked for."""
    with services().database.read() as connection:
        return jsonify(state.state(connection, _line(connection, run, branch)[-1]))


@root_blueprint.get("/events", defaults={"run": "", "branch": ""})
@blueprint.get("/events")
def list_events(run: str, branch: str) -> Response:
    """Return what happened from number ``since`` on."""
    since = query.whole("since") or 0
    with services().database.read() as connection:
        run_id = _line(connection, run, branch)[0].run_id
    control.expire_hanging(services().database, run_id, control.local_actor())
    with services().database.read() as connection:
        line = _line(connection, run, branch)
        offered = payloads_steering.settings(connection, line[-1])
        knobs = state.knobs(offered["settings"])
        return jsonify(events=events.events(connection, line, since, now(), knobs))


@root_blueprint.post("/actions", defaults={"run": "", "branch": ""})
@blueprint.post("/actions")
def submit(run: str, branch: str) -> Response:
    """Make a request of an action, and return its id; what comes of it is an event.

    An action that is refused has an id, too, if the refusal is on record.
    """
    body = models.validated(ActionBody, json_body.read())
    values = body.payload or {}
    with services().database.read() as connection:
        target = _line(connection, run, branch)[-1]
        offered = payloads_steering.settings(connection, target)
    ref = f"{offered['run']}/{offered['branch']}"
    error: BranchtrackError | None = None
    try:
        payload = actions.payload_of(body.type, values, state.own_actions(offered))
    except InvalidInput as refused:
        # It is sent all the same, so that the refusal is on record; its values may hold a key.
        payload, error = {"kind": body.type}, refused
    try:
        sent = control.submit(
            services().database,
            ref,
            payload,
            actor=actor(),
            reason=actions.reason_of(body.type, values, body.source, body.reason),
            key=body.id,
            home=services().config.home,
        )
    except (InvalidInput, NotFound, NotLive, Forbidden) as refused:
        return _refused(target, payload, error or refused, refused)
    return jsonify(id=sent.key or sent.id)


def _refused(
    branch: Branch, payload: dict[str, Any], shown: BranchtrackError, refused: BranchtrackError
) -> Response:
    with services().database.read() as connection:
        record = _recorded(connection, branch, payload)
    if record is None:
        raise refused
    return jsonify(id=record.id, ok=False, error=str(shown))


def _recorded(connection: Connection, branch: Branch, payload: dict[str, Any]) -> Request | None:
    """Return the newest refusal of such a request by the caller, None if it was only counted."""
    kind = storable(str(payload["kind"]))[:32]
    values = shortened({name: value for name, value in payload.items() if name != "kind"}, 1000)
    refusal = (actor().label, "rejected", kind, values)
    for record in requests.list_of_run(connection, branch.run_id, 20, branch_id=branch.id):
        if (record.actor, record.state, record.kind, record.payload) == refusal:
            return record
    return None


def _line(connection: Connection, run: str, branch: str) -> list[Branch]:
    """Return the branch of the address, and those in which its process went on."""
    ref = f"{run}/{branch}" if run else current_app.config[_BRANCH]
    return branch_stream.followed(connection, runs.find_branch(connection, ref))

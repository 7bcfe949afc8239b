"""The API for launches: the queue and its workers, one launch and its output, an end to one.

It writes no markup.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from branchtrack import control
from branchtrack.analysis import payloads_requests, queue
from branchtrack.core import lifecycle
from branchtrack.core.settings import Setting
from branchtrack.db.orders import launches
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.rendering import now
from branchtrack.web.services import services
from branchtrack.web.view import log_tail

blueprint = Blueprint("api_launches", __name__, url_prefix="/api/v1/launches")
_LINES = Setting("lines", dtype="int", minimum=1, maximum=log_tail.MOST_LINES)


@blueprint.get("")
def list_launches() -> Response:
    """Return the launches that have not ended in the order of the queue, and the workers."""
    with services().database.read() as connection:
        return jsonify(queue.as_json(queue.read(connection, now())))


@blueprint.get("/<launch_id>")
def show(launch_id: str) -> Response:
    """Return a launch with its place in the queue, or its progress."""
    with services().database.read() as connection:
        launch = launches.find(connection, launch_id)
        line = queue.line_of(connection, launch, now())
        payload = payloads_requests.launch(connection, launch)
    return jsonify({**queue.line_as_json(line), **payload})


@blueprint.get("/<launch_id>/log")
def log(launch_id: str) -> Response:
    """Return the last ``lines`` of what a launch's process printed, as far as it is here."""
    lines = int(_LINES.validate(query.whole("lines", 1) or 200))
    with services().database.read() as connection:
        launch = launches.find(connection, launch_id)
    text = log_tail.tail(services().config, launch, lines)
    return jsonify({"launch": launch.id, "state": launch.state, "text": text})


@blueprint.post("/<launch_id>/cancel")
def cancel(launch_id: str) -> tuple[Response, int]:
    """Cancel a launch: 200 if it waited, 202 if its worker has to end its process."""
    launch = control.cancel_launch(services().database, launch_id, actor=actor())
    with services().database.read() as connection:
        payload = payloads_requests.launch(connection, launch)
    return jsonify(payload), 200 if launch.state in lifecycle.LAUNCH_ENDS else 202

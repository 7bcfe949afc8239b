"""The queue: what waits for a worker, what trains with its output, the workers, the last ends."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.analysis import queue
from branchtrack.control import cancellation
from branchtrack.core.records import Launch
from branchtrack.db.orders import launches
from branchtrack.errors import Forbidden
from branchtrack.web.access.guards import actor
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import log_tail

blueprint = Blueprint("launches", __name__)
#: Lines of a log on the page of its launch.
_LINES = 200


@blueprint.get("/launches")
def index() -> Response:
    """Return the launches that have not ended and those that ended last."""
    with services().database.read() as connection:
        view = queue.read(connection, now())
    failed = [line for line in view.ended if line.status == "failed"]
    shown = [line.launch for line in (*view.running, *failed)]
    logs = {launch.id: log_tail.tail(services().config, launch) for launch in shown}
    note = services().worker_note
    return respond(
        "launches/index.html", queue=view, logs=logs, worker_note=note, now=now, refusal=_refusal
    )


@blueprint.get("/launches/<launch_id>")
def show(launch_id: str) -> Response:
    """Return one launch with the end of its output, which the page keeps up to date."""
    with services().database.read() as connection:
        launch = launches.find(connection, launch_id)
        line = queue.line_of(connection, launch, now())
    text = log_tail.tail(services().config, launch, _LINES)
    return respond(
        "launches/show.html", line=line, log=text, most=_LINES, now=now, refusal=_refusal
    )


def _refusal(launch: Launch) -> str:
    """Return why the reader may not cancel a launch; empty if they may."""
    try:
        cancellation.check(actor(), launch)
    except Forbidden as error:
        return error.what
    return ""


@blueprint.post("/launches/<launch_id>/cancel")
def cancel(launch_id: str) -> AnyResponse:
    """Take a launch out of the queue, or have its worker end its process."""
    launch = control.cancel_launch(services().database, launch_id, actor=actor())
    return redirect(url_for("launches.index", _anchor=f"launch-{launch.id}"), 303)

"""The API for launches: the queue and its workers, one launch and its output, an end to one.

It writes no markup.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import payloads_requests, queue
from branchtrack.core import lifecycle
from branchtrack.db.orders import launches
from branchtrack.schemas import launches as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.rendering import now
from branchtrack.web.services import services
from branchtrack.web.view import log_tail

blueprint = Blueprint("api_launches", __name__, url_prefix="/api/v1/launches")


@blueprint.get("")
@documented(models.Queue, query=models.LaunchesQuery)
def list_launches(query: models.LaunchesQuery) -> Any:
    """Return the launches that have not ended in the order of the queue, ends, and workers."""
    with services().database.read() as connection:
        return queue.as_json(queue.read(connection, now(), query.limit, query.before))


@blueprint.get("/<launch_id>")
@documented(models.LaunchInQueue, query=Selection)
def show(launch_id: str) -> Any:
    """Return a launch with its place in the queue, or its progress."""
    with services().database.read() as connection:
        launch = launches.find(connection, launch_id)
        line = queue.line_of(connection, launch, now())
        payload = payloads_requests.launch(connection, launch)
    return {**queue.line_as_json(line), **payload}


@blueprint.get("/<launch_id>/log")
@documented(models.Log, query=models.LogQuery)
def log(launch_id: str, query: models.LogQuery) -> Any:
    """Return the last ``lines`` of what a launch's process printed, as far as it is here."""
    with services().database.read() as connection:
        launch = launches.find(connection, launch_id)
    text = log_tail.tail(services().config, launch, query.lines)
    return {"launch": launch.id, "state": launch.state, "text": text}


@blueprint.post("/<launch_id>/cancel")
@documented({200: models.Launch, 202: models.Launch}, deed="cancel")
def cancel(launch_id: str) -> Any:
    """Cancel a launch: 200 if it waited, 202 if its worker has to end its process."""
    launch = control.cancel_launch(services().database, launch_id, actor=actor())
    with services().database.read() as connection:
        payload = payloads_requests.launch(connection, launch)
    return payload, 200 if launch.state in lifecycle.LAUNCH_ENDS else 202

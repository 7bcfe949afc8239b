"""The API for a run's log: its events in pages, as a stream, and whether their chain holds."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from branchtrack.analysis import payloads_audit, payloads_requests
from branchtrack.db import audit, refusals, runs
from branchtrack.errors import InvalidInput
from branchtrack.schemas import audit as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.api.contract import documented
from branchtrack.web.events import streams
from branchtrack.web.events.log_followers import LogFollower
from branchtrack.web.input.models import validated
from branchtrack.web.services import services

blueprint = Blueprint("api_audit", __name__, url_prefix="/api/v1")


@blueprint.get("/runs/<run>/audit")
@documented(models.AuditPage, query=models.AuditQuery)
def log(run: str, query: models.AuditQuery) -> Any:
    """Return events after line ``after``, oldest first; ``next`` is the ``after`` of the next page.

    ``refused`` holds counts of requests that were refused and not stored, by branch, actor and
    error.
    """
    with services().database.read() as connection:
        run_id = runs.find_run(connection, run).id
        events = audit.after(connection, run_id, query.after, query.limit)
        counted = refusals.of_run(connection, run_id)
    lines = [payloads_audit.event(row) for row in events]
    return {
        "events": lines,
        "next": lines[-1]["seq"] if lines else query.after,
        "refused": [payloads_requests.refusals(row) for row in counted],
    }


@blueprint.get("/runs/<run>/audit/chain")
@documented(models.Chain, query=Selection)
def chain(run: str) -> Any:
    """Return whether the log of a run is as it was written, and its last hash."""
    with services().database.read() as connection:
        return payloads_audit.chain(connection, runs.find_run(connection, run))


@blueprint.get("/runs/<run>/events")
@documented({200: None}, query=models.EventsQuery, media="text/event-stream")
def events(run: str, query: models.EventsQuery) -> Any:
    """Stream every event of the run's log as server-sent events.

    The data of a message is an event as JSON, its id the number of it: as ``Last-Event-ID`` or
    ``after`` it continues a stream that broke off. Without either the stream begins with what
    happens next.
    """
    last_id, after = request.headers.get("Last-Event-ID"), query.after
    if last_id:
        after = validated(models.EventsQuery, {"after": last_id}).after
    database = services().database
    with database.read() as connection:
        run_record = runs.find_run(connection, run)
        newest = audit.newest(connection, run_record.id, 1)[-1].seq
    if after is not None and after > newest:
        raise InvalidInput("after", after, f"the id of a message: at most {newest}")
    follower = LogFollower(database, run_record, newest if after is None else after)
    return streams.stream(follower)

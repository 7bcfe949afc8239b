"""Requests as pages show them: in a line, and never as waiting for a process that is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from branchtrack import control
from branchtrack.core import interventions, lifecycle
from branchtrack.core.formats import assignments
from branchtrack.core.interventions import SetSettings
from branchtrack.core.records import Refusals, Request, Segment
from branchtrack.db import refusals, segments
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from branchtrack.web.services import services


def refresh_if_orphaned(
    database: Database,
    requests: Sequence[Request],
    every: Mapping[str, Segment],
    now: float,
    reload: Callable[[], Sequence[Request]],
) -> Sequence[Request]:
    """Return the requests, reloaded if some of their processes will never answer.

    ``every`` are the segments of their run, by id. It needs no query if every process lives.
    """
    hanging = [row for row in requests if row.state not in lifecycle.REQUEST_ENDS]
    asked_of = [every[row.segment_id or ""] for row in hanging if row.segment_id in every]
    if all(lifecycle.segment_status(row, now) in lifecycle.LIVE for row in asked_of):
        return requests
    control.expire_hanging(database, hanging[0].run_id, control.local_actor())
    return reload()


def segments_of(
    database: Database, requests: Sequence[Request], known: Mapping[str, Segment]
) -> dict[str, Segment]:
    """Return the segments that `refresh_if_orphaned` needs: those of requests that wait.

    Only those that are not ``known`` are read.
    """
    waiting = [row for row in requests if row.state not in lifecycle.REQUEST_ENDS]
    missing = {row.segment_id for row in waiting if row.segment_id} - set(known)
    if not missing:
        return dict(known)
    with database.read() as connection:
        return {**known, **{name: segments.get(connection, name) for name in missing}}


def refusals_of(run_id: str, branch_id: str | None = None) -> list[Refusals]:
    """Return how many refusals were counted and not listed one by one; for templates."""
    with services().database.read() as connection:
        return refusals.of_run(connection, run_id, branch_id)


def describe_request(request: Request) -> str:
    """Describe a request in one line, as it was submitted."""
    payload: dict[str, Any] = request.requested or request.payload
    if interventions.has_settings(request.kind):
        values = request.requested.get("values") or request.payload.get("values") or {}
        return SetSettings(values={}).describe() + assignments(values)
    if request.kind == "resume":
        return _order(payload)
    try:
        return str(interventions.read({"kind": request.kind, **payload}).describe())
    except InvalidInput:
        return request.kind


def _order(payload: Mapping[str, Any]) -> str:
    """Describe an order to start processes, which is no intervention."""
    if tried := payload.get("trial"):
        changes = "; ".join(tried.get("changes") or ())
        return f"try {changes} from {str(payload.get('node', ''))[:8]}"
    weights = "the weights of " if payload.get("mode") == "weights" else ""
    name = f" as {payload['name']}" if payload.get("name") else ""
    settings = f" with {assignments(payload['settings'])}" if payload.get("settings") else ""
    return f"resume {weights}{str(payload.get('node', ''))[:8]}{name}{settings}".rstrip()

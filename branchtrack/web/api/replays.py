"""The API for the changes along a branch, and their replay. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import interventions
from branchtrack.core.replays import recording as recordings
from branchtrack.db import nodes, runs
from branchtrack.schemas import replays as models
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_replays", __name__, url_prefix="/api/v1")


@blueprint.get("/runs/<run>/branches/<branch>/interventions")
@documented(models.Interventions, query=models.InterventionsQuery)
def show(run: str, branch: str, query: models.InterventionsQuery) -> Any:
    """Return the changes that were made along a branch's path, in order."""
    with services().database.read() as connection:
        branch_record = runs.find_branch(connection, f"{run}/{branch}")
        start = None if query.start is None else nodes.find(connection, query.start)
        recording = interventions.recording_of(connection, branch_record, start=start, by=query.by)
    return interventions.payload(recording)


@blueprint.post("/runs/<run>/branches/<branch>/replay")
@documented({200: models.Replay, 202: models.Replay}, body=models.ReplayBody, deed="request")
def replay(run: str, branch: str, body: models.ReplayBody) -> Any:
    """Ask a branch's training for all changes of a recording, each at its moment, or for none.

    202, or 200 if nothing was requested: in a dry run.
    """
    sent = control.send_replay(
        services().database,
        f"{run}/{branch}",
        recordings.from_text(body.recording),
        actor=actor(),
        reason=body.reason,
        skip_passed=body.skip_past,
        dry_run=body.dry_run,
    )
    answer = {
        "changes": [interventions.replayed(entry.change, entry.request) for entry in sent.sent],
        "done": [change.line for change in sent.done],
        "passed": [change.line for change in sent.passed],
    }
    return answer, 200 if body.dry_run else 202

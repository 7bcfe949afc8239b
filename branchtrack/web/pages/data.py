"""The shards that a branch has trained from, and how many samples it has seen of each."""

from __future__ import annotations

from flask import Blueprint, Response

from branchtrack.analysis.payloads_shards import branch_data
from branchtrack.core import lifecycle
from branchtrack.core.shards.composition import NO_SHARDS
from branchtrack.db import runs, segments
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services

blueprint = Blueprint("data", __name__)


@blueprint.get("/runs/<run>/branches/<branch>/data")
def show(run: str, branch: str) -> Response:
    """Return the page of a branch."""
    with services().database.read() as connection:
        record = runs.find_branch(connection, f"{run}/{branch}")
        data = branch_data(connection, record)
        segment = segments.get(connection, record.segment_id) if record.segment_id else None
    is_live = segment is not None and lifecycle.segment_status(segment, now()) in lifecycle.LIVE
    return respond(
        "data/index.html", run=run, branch=branch, data=data, is_live=is_live, no_shards=NO_SHARDS
    )

"""The API for storage: sizes, and sweeps."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from branchtrack.retention import report as reports
from branchtrack.web.input.json_body import fields
from branchtrack.web.view import storage

blueprint = Blueprint("api_storage", __name__, url_prefix="/api/v1")


@blueprint.get("/storage")
def read() -> Response:
    """Return the sizes of all runs and branches."""
    report, left = storage.measure()
    return jsonify(reports.as_json(report, left))


@blueprint.post("/runs/<run>/gc")
def sweep(run: str) -> Response:
    """Sweep a run by a policy, or without one by its own; return what was done."""
    body = fields(*storage.FIELDS)
    swept = storage.sweep(run, storage.entered_policy(body) if body else None)
    plan = swept.plan
    return jsonify(
        {
            "run": plan.run.name,
            "policy": plan.policy.as_json(),
            "recipe": sum(left == "recipe" for left in plan.left.values()),
            "weights": sum(left == "weights" for left in plan.left.values()),
            "freed_bytes": swept.freed_bytes,
            "branches": [vars(branch) for branch in plan.branches],
        }
    )

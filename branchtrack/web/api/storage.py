"""The API for storage: sizes, and sweeps."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack.retention import report as reports
from branchtrack.schemas import storage as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.api.contract import documented
from branchtrack.web.view import storage

blueprint = Blueprint("api_storage", __name__, url_prefix="/api/v1")


@blueprint.get("/storage")
@documented(models.Storage, query=Selection)
def read() -> Any:
    """Return the sizes of all runs and branches."""
    report, left = storage.measure()
    return reports.as_json(report, left)


@blueprint.post("/runs/<run>/gc")
@documented(models.Sweep, body=models.SweepBody, deed="retain")
def sweep(run: str, body: models.SweepBody) -> Any:
    """Sweep a run by a policy, or without one by its own; return what was done.

    With ``dry_run`` nothing is done, and what would be is returned.
    """
    values = body.model_dump(exclude={"dry_run"}, exclude_none=True)
    policy = storage.entered_policy(values) if values else None
    if body.dry_run:
        plan = storage.plan(run, policy)
        freed = plan.freed_bytes
    else:
        swept = storage.sweep(run, policy)
        plan, freed = swept.plan, swept.freed_bytes
    return {
        "run": plan.run.name,
        "policy": plan.policy.as_json(),
        "recipe": sum(left == "recipe" for left in plan.left.values()),
        "weights": sum(left == "weights" for left in plan.left.values()),
        "freed_bytes": freed,
        "branches": [vars(branch) for branch in plan.branches],
        "dry_run": body.dry_run,
    }

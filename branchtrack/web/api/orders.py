"""The API for orders: one branch from a node, or several by lists, a grid, or several nodes.

Every order goes through `control`, as from the shell and the pages. It writes no markup.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import payloads_requests
from branchtrack.control.launchers import profiles
from branchtrack.db.orders import launchers
from branchtrack.schemas import launches as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_orders", __name__, url_prefix="/api/v1")
#: When the processes of an order start, and whether under other code.
_TURN = {"priority", "labels", "retries", "allow_code_change"}


@blueprint.post("/nodes/<node_id>/resume")
@documented({200: models.OrderPreview, 202: models.Ordered}, body=models.ResumeBody, deed="launch")
def resume(node_id: str, body: models.ResumeBody) -> Any:
    """Order a launch from a node: 202 with the launch, or with a list if there are several.

    With ``dry_run`` nothing is ordered: 200 with what would be.
    """
    order = control.ForkOrder(
        [node_id, *(body.nodes or ())],
        body.settings or {},
        body.grid or {},
        name=body.name,
        group=body.group,
        mode=body.mode,
        without_change=body.without_change,
    )
    facts = {"actor": actor(), "reason": body.reason, **body.model_dump(include=_TURN)}
    database, store = services().database, services().store
    launcher = _launcher(body.on)
    if body.dry_run:
        return control.preview_launches(database, store, order, launcher=launcher, **facts)
    launches = control.create_launches(database, store, order, launcher=launcher, **facts)
    with database.read() as connection:
        answers = [payloads_requests.launch(connection, launch) for launch in launches]
    return answers if len(answers) > 1 else answers[0], 202


@blueprint.get("/launchers")
@documented(models.Launchers, query=Selection)
def list_launchers() -> Any:
    """Return the profiles of clusters that ``on`` of an order may name."""
    with services().database.read() as connection:
        listed = launchers.all_of(connection)
    return {"launchers": [{"name": profile.name, "kind": profile.kind} for profile in listed]}


@blueprint.post("/runs/<run>/branches/<branch>/continue")
@documented({202: models.Launch}, body=models.ContinueBody, deed="launch")
def continue_branch(run: str, branch: str, body: models.ContinueBody) -> Any:
    """Order a launch that goes on in a branch: 202 with the launch."""
    launch = control.continue_branch(
        services().database,
        services().store,
        f"{run}/{branch}",
        actor=actor(),
        settings=body.settings,
        reason=body.reason,
        launcher=_launcher(body.on),
        **body.model_dump(include=_TURN),
    )
    with services().database.read() as connection:
        return payloads_requests.launch(connection, launch), 202


def _launcher(name: str | None) -> dict[str, Any] | None:
    with services().database.read() as connection:
        return profiles.named(connection, name)

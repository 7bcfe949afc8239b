"""The API for names, tags, notes and the archive. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import payloads
from branchtrack.schemas.runs import Labels, LabelsBody
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_labels", __name__, url_prefix="/api/v1")


@blueprint.patch("/runs/<run>")
@documented(Labels, body=LabelsBody, deed="label")
def change_run(run: str, body: LabelsBody) -> Any:
    """Change the labels of a run, and return them."""
    return _change(run, body)


@blueprint.patch("/runs/<run>/branches/<branch>")
@documented(Labels, body=LabelsBody, deed="label")
def change_branch(run: str, branch: str, body: LabelsBody) -> Any:
    """Change the labels of a branch, and return them."""
    return _change(f"{run}/{branch}", body)


@blueprint.patch("/nodes/<node_id>")
@documented(Labels, body=LabelsBody, deed="label")
def change_node(node_id: str, body: LabelsBody) -> Any:
    """Change the tags of a node, and return them."""
    return _change(node_id, body)


def _change(ref: str, body: LabelsBody) -> dict[str, Any]:
    item = control.label(
        services().database,
        ref,
        actor=actor(),
        add=body.add_tags,
        remove=body.remove_tags,
        **body.model_dump(exclude={"add_tags", "remove_tags"}),
    )
    return payloads.labels(item)

"""The page that resumes a node as a new branch: a form with the current values, and its order.

Only fields that were changed become overrides; all errors are shown at once, each at its field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.core.records import Node, Run
from branchtrack.core.settings import Setting
from branchtrack.db import nodes, runs
from branchtrack.db.orders import launches
from branchtrack.errors import BranchtrackError, CheckpointError, InvalidInput, LaunchFailed
from branchtrack.web.access.guards import actor
from branchtrack.web.input.forms import PREFIX, changed_settings, problems, written
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("resume", __name__)


#: The fields of the form that are no settings.
FIELDS = ("name", "mode", "reason")


@dataclass(frozen=True)
class Offer:
    """The values that the form starts from."""

    node: Node
    run: Run
    branch: str
    settings: dict[str, Setting]
    suggested: str


@blueprint.get("/nodes/<node_id>/resume")
def form(node_id: str) -> Response:
    """Return the form; ``set.lr=...`` in the address fills in a field."""
    return _render_form(_offer(node_id), request.args)


@blueprint.post("/nodes/<node_id>/resume")
def order(node_id: str) -> AnyResponse:
    """Order the launch, or show the form again with its errors; then nothing was changed."""
    offer = _offer(node_id)
    values = changed_settings(request.form, offer.settings, offer.node.settings)
    errors: dict[str, BranchtrackError] = {
        **_unknown_fields(request.form),
        **problems(values, offer.settings),
    }
    if errors:
        return _render_form(offer, request.form, 422, errors)
    name = request.form.get("name", "").strip()
    try:
        launch = control.create_launch(
            services().database,
            services().store,
            offer.node.id,
            actor=actor(),
            name=name or None,
            settings=values,
            mode=request.form.get("mode") or control.MODES[0],
            reason=request.form.get("reason", ""),
        )
    except InvalidInput as error:
        return _render_form(offer, request.form, 422, {error.field: error})
    except (CheckpointError, LaunchFailed) as error:
        return _render_form(offer, request.form, 409, {"": error})
    with services().database.read() as connection:
        branch = launches.branch_name(connection, launch)
    anchor = f"branch-{branch}"
    return redirect(url_for("tree.show", run=offer.run.name, _anchor=anchor), 303)


def _unknown_fields(form: Mapping[str, str]) -> dict[str, InvalidInput]:
    """Return an error for each field that is not of the form: a misspelt one would train
    something else."""
    allowed = f"{', '.join(FIELDS)}, {PREFIX}SETTING"
    return {
        field: InvalidInput(field, text, allowed)
        for field, text in form.items()
        if field not in FIELDS and not field.startswith(PREFIX)
    }


def _offer(node_id: str) -> Offer:
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        return Offer(
            node=node,
            run=runs.get_run(connection, node.run_id),
            branch=runs.get_branch(connection, node.branch_id).name,
            settings=control.resume_settings(connection, node),
            suggested=runs.suggested_name(connection, node),
        )


def _render_form(
    offer: Offer,
    submitted: Mapping[str, str],
    status: int = 200,
    errors: Mapping[str, BranchtrackError] | None = None,
) -> Response:
    values: dict[str, Any] = {
        name: submitted.get(PREFIX + name, written(offer.node.settings.get(name)))
        for name in offer.settings
    }
    field_names = {"name", "reason", "mode", *offer.settings}
    errors_by_field = dict(errors or {})
    return respond(
        "resume/index.html",
        status,
        offer=offer,
        node=offer.node,
        values=values,
        name=submitted.get("name", offer.suggested),
        mode=submitted.get("mode", control.MODES[0]),
        reason=submitted.get("reason", ""),
        errors=errors_by_field,
        others=[error for field, error in errors_by_field.items() if field not in field_names],
        prefix=PREFIX,
    )

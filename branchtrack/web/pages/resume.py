"""The page that resumes a node as a new branch: a form with the current values, and its order.

Only fields that were changed become overrides; all errors are shown at once, each at its field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.core.forks import reversal
from branchtrack.core.forks.value_lists import listed
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
FIELDS = ("name", "group", "mode", "reason", "without_change", "allow_code_change")


@dataclass(frozen=True)
class Offer:
    """The values that the form starts from; ``reversible``: the node's change can be left out."""

    node: Node
    run: Run
    branch: str
    settings: dict[str, Setting]
    suggested: str
    reversible: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a form: errors by field, or what it would do."""

    errors: Mapping[str, BranchtrackError] = field(default_factory=dict)
    preview: Mapping[str, Any] | None = None


@blueprint.get("/nodes/<node_id>/resume")
def form(node_id: str) -> Response:
    """Return the form; ``set.lr=...`` in the address fills in a field."""
    return _render_form(_offer(node_id), request.args)


@blueprint.post("/nodes/<node_id>/resume")
def order(node_id: str) -> AnyResponse:
    """Order the launches, or show the form again with its errors; then nothing was changed."""
    offer = _offer(node_id)
    try:
        launches_ordered = control.create_launches(
            services().database,
            services().store,
            _fork_order(offer, request.form),
            actor=actor(),
            reason=request.form.get("reason", ""),
            allow_code_change=bool(request.form.get("allow_code_change")),
        )
    except _Refused as refused:
        return _render_form(offer, request.form, 422, Outcome(refused.errors))
    except InvalidInput as error:
        return _render_form(offer, request.form, 422, Outcome({error.field: error}))
    except (CheckpointError, LaunchFailed) as error:
        return _render_form(offer, request.form, 409, Outcome({"": error}))
    with services().database.read() as connection:
        branch = launches.branch_name(connection, launches_ordered[0])
    anchor = f"branch-{branch}"
    return redirect(url_for("tree.show", run=offer.run.name, _anchor=anchor), 303)


@blueprint.post("/nodes/<node_id>/resume/preview")
def preview(node_id: str) -> Response:
    """Show what the form would start, and what it would cost; nothing is started."""
    offer = _offer(node_id)
    try:
        result = control.preview_launches(
            services().database,
            services().store,
            _fork_order(offer, request.form),
            actor=actor(),
            reason=request.form.get("reason", ""),
            allow_code_change=bool(request.form.get("allow_code_change")),
        )
    except _Refused as refused:
        return _render_form(offer, request.form, 422, Outcome(refused.errors))
    except InvalidInput as error:
        return _render_form(offer, request.form, 422, Outcome({error.field: error}))
    status = 422 if result["refused"] else 200
    return _render_form(offer, request.form, status, Outcome(preview=result))


class _Refused(Exception):
    """Fields that cannot be accepted, each with its error."""

    def __init__(self, errors: Mapping[str, BranchtrackError]) -> None:
        super().__init__()
        self.errors = errors


def _fork_order(offer: Offer, form: Mapping[str, str]) -> control.ForkOrder:
    """Return the order that a form describes.

    Raises:
        _Refused: one or more of its fields cannot be accepted.
    """
    node = offer.node
    values = changed_settings(form, offer.settings, node.settings)
    errors = {**_unknown_fields(form), **problems(values, offer.settings, node.settings, node.step)}
    if errors:
        raise _Refused(errors)
    return control.ForkOrder(
        [node.id],
        values,
        name=_name(offer, form, values),
        group=form.get("group", "").strip() or None,
        mode=form.get("mode") or None,
        without_change=bool(form.get("without_change")),
    )


def _name(offer: Offer, form: Mapping[str, str], values: Mapping[str, str]) -> str | None:
    """Return the name that was typed; what the form suggested is no name for several branches."""
    name = form.get("name", "").strip()
    is_several = any(len(listed(offer.settings.get(key), text)) > 1 for key, text in values.items())
    return None if is_several and name == offer.suggested else name or None


def _unknown_fields(form: Mapping[str, str]) -> dict[str, InvalidInput]:
    """Return an error for each field that is not of the form: a misspelt one would train
    something else."""
    allowed = f"{', '.join(FIELDS)}, {PREFIX}SETTING"
    return {
        name: InvalidInput(name, text, allowed)
        for name, text in form.items()
        if name not in FIELDS and not name.startswith(PREFIX)
    }


def _offer(node_id: str) -> Offer:
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        settings = control.resume_settings(connection, node)
        return Offer(
            node=node,
            run=runs.get_run(connection, node.run_id),
            branch=runs.get_branch(connection, node.branch_id).name,
            settings=settings,
            suggested=runs.suggested_name(connection, node),
            reversible=reversal.is_reversible(node, settings),
        )


def _render_form(
    offer: Offer,
    submitted: Mapping[str, str],
    status: int = 200,
    outcome: Outcome = Outcome(),
) -> Response:
    values: dict[str, Any] = {
        name: submitted.get(PREFIX + name, written(offer.node.settings.get(name)))
        for name in offer.settings
    }
    field_names = {*FIELDS, *offer.settings} - {"allow_code_change"}
    errors = outcome.errors
    return respond(
        "resume/index.html",
        status,
        offer=offer,
        node=offer.node,
        values=values,
        name=submitted.get("name", offer.suggested),
        group=submitted.get("group", ""),
        mode=submitted.get("mode", control.default_mode(offer.node)),
        reason=submitted.get("reason", ""),
        without_change=bool(submitted.get("without_change")),
        allow_code_change=bool(submitted.get("allow_code_change")),
        errors=errors,
        others=[error for name, error in errors.items() if name not in field_names],
        preview=outcome.preview,
        prefix=PREFIX,
    )

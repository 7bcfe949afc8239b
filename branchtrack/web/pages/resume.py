"""The page that resumes a node as a new branch: a form with the current values, and its order.

Only fields that were changed become overrides; all errors are shown at once, each at its field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.core.forks import reversal
from branchtrack.core.forks.value_lists import listed
from branchtrack.core.names import as_name, free_name
from branchtrack.core.queueing import MOST_PRIORITY, MOST_RETRIES, parse_labels
from branchtrack.core.records import Node, Run, WorkerRow
from branchtrack.core.settings import Setting
from branchtrack.db import nodes, runs
from branchtrack.db.orders import launches as launch_rows
from branchtrack.db.orders import workers
from branchtrack.db.views.nearby import launch_outlook, order_choices
from branchtrack.db.views.nearby.launch_outlook import Outlook
from branchtrack.errors import (
    BranchtrackError,
    CheckpointError,
    CheckpointThinned,
    InvalidInput,
    LaunchFailed,
)
from branchtrack.web.access.guards import actor
from branchtrack.web.input import forms
from branchtrack.web.input.forms import PREFIX, changed_settings, problems, written
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import cockpit, launchers, outlook

blueprint = Blueprint("resume", __name__)


#: The fields of the form that are no settings.
FIELDS = (
    "name",
    "group",
    "mode",
    "reason",
    "without_change",
    "allow_code_change",
    "priority",
    "labels",
    "retries",
    launchers.FIELD,
    forms.KEY,
)

_WEIGHTS_FIX = "Choose “the weights alone” in the field “What is taken from the node”."


@dataclass(frozen=True)
class Offer:
    """The values that the form starts from; ``reversible``: the node's change can be left out.

    ``outlook`` is what the branch has cost so far, ``staff`` are the workers heard of, ``places``
    the choices of where it trains.
    """

    node: Node
    run: Run
    branch: str
    settings: dict[str, Setting]
    suggested: str
    reversible: bool
    outlook: Outlook
    staff: tuple[WorkerRow, ...]
    places: Sequence[tuple[str, str]]

    @property
    def has_weights_alone(self) -> bool:
        """Return whether nothing but the weights is stored of the node's state."""
        return self.outlook.thinned == "weights"

    @property
    def mode(self) -> str:
        """Return the mode that the form has chosen at first."""
        return "weights" if self.has_weights_alone else control.default_mode(self.node)


@dataclass(frozen=True)
class Outcome:
    """What came of a form: errors by field, or what it would do, and by which ``launcher``."""

    errors: Mapping[str, BranchtrackError] = field(default_factory=dict)
    preview: Mapping[str, Any] | None = None
    launcher: Mapping[str, Any] | None = None


@blueprint.get("/nodes/<node_id>/resume")
def form(node_id: str) -> Response:
    """Return the form; ``set.lr=...`` in the address fills in a field."""
    return _render_form(_offer(node_id), request.args)


@blueprint.post("/nodes/<node_id>/resume")
def order(node_id: str) -> AnyResponse:
    """Order the launches, or show the form again with its errors; then nothing was changed."""
    offer, submitted = _offer(node_id), forms.pressed(request.form)
    try:
        launches_ordered = control.create_launches(
            services().database,
            services().store,
            _fork_order(offer, submitted),
            actor=actor(),
            order_id=forms.order_id(submitted, "resume", offer.node.id, actor().label),
            launcher=launchers.chosen(submitted),
            **_manner(submitted),
        )
    except _Refused as refused:
        return _render_form(offer, submitted, 422, Outcome(refused.errors))
    except InvalidInput as error:
        return _render_form(offer, submitted, 422, Outcome({error.field: error}))
    except CheckpointThinned as error:
        return _render_form(offer, submitted, 409, Outcome({"mode": _as_field(error)}))
    except (CheckpointError, LaunchFailed) as error:
        return _render_form(offer, submitted, 409, Outcome({"": error}))
    with services().database.read() as connection:
        branch = launch_rows.branch_name(connection, launches_ordered[0])
    anchor = f"branch-{branch}"
    return redirect(url_for("tree.show", run=offer.run.name, _anchor=anchor), 303)


@blueprint.post("/nodes/<node_id>/resume/preview")
def preview(node_id: str) -> Response:
    """Show what the form would start, and what it would cost; nothing is started."""
    offer, submitted = _offer(node_id), forms.pressed(request.form)
    try:
        launcher = launchers.chosen(submitted)
        result = control.preview_launches(
            services().database,
            services().store,
            _fork_order(offer, submitted),
            actor=actor(),
            **_manner(submitted),
        )
    except _Refused as refused:
        return _render_form(offer, submitted, 422, Outcome(refused.errors))
    except InvalidInput as error:
        return _render_form(offer, submitted, 422, Outcome({error.field: error}))
    for line in result["branches"]:
        if line["error"] and line["error"]["facts"].get("thinned"):
            line["error"]["fix"] = _WEIGHTS_FIX
    status = 422 if result["refused"] else 200
    return _render_form(offer, submitted, status, Outcome(preview=result, launcher=launcher))


def _as_field(error: CheckpointThinned) -> BranchtrackError:
    """Return the error of a node with weights alone as one of the form's field."""
    return BranchtrackError(error.what, safe=error.safe, fix=_WEIGHTS_FIX, **error.facts)


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


def _manner(form: Mapping[str, str]) -> dict[str, Any]:
    """Return why, when and where the branches of a form are trained.

    Raises:
        InvalidInput: a number is none, or a label no name.
    """
    return {
        "reason": form.get("reason", ""),
        "allow_code_change": bool(form.get("allow_code_change")),
        "priority": _whole(form, "priority", MOST_PRIORITY),
        "labels": parse_labels(form.get("labels", "")),
        "retries": _whole(form, "retries", MOST_RETRIES) or 0,
    }


def _whole(form: Mapping[str, str], field: str, most: int) -> int | None:
    text = form.get(field, "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        raise InvalidInput(field, text, f"a whole number up to {most}") from None


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
        names = {branch.id: branch.name for branch in runs.list_branches(connection, node.run_id)}
        branch = names[node.branch_id]
        run, offered = order_choices.read(connection, node.run_id)
        return Offer(
            node=node,
            run=run,
            branch=branch,
            settings=settings,
            suggested=free_name(as_name(branch, "branch"), set(names.values())),
            reversible=reversal.is_reversible(node, settings),
            outlook=launch_outlook.read(connection, node),
            staff=tuple(workers.heard_of(connection, workers.SILENT_AFTER)),
            places=launchers.choices(offered),
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
    field_names = {*FIELDS, *offer.settings} - {"allow_code_change", forms.KEY}
    errors = outcome.errors
    return respond(
        "resume/index.html",
        status,
        offer=offer,
        node=offer.node,
        values=values,
        name=submitted.get("name", offer.suggested),
        group=submitted.get("group", ""),
        mode=submitted.get("mode", offer.mode),
        reason=submitted.get("reason", ""),
        without_change=bool(submitted.get("without_change")),
        allow_code_change=bool(submitted.get("allow_code_change")),
        errors=errors,
        others=[error for name, error in errors.items() if name not in field_names],
        preview=outcome.preview,
        launcher=outcome.launcher,
        where_words=launchers.words,
        on=submitted.get(launchers.FIELD, ""),
        prefix=PREFIX,
        turn={name: submitted.get(name, "") for name in ("priority", "labels", "retries")},
        quick=outlook.quick_orders(offer.settings, offer.node.settings),
        factors=cockpit.factors,
        left=outlook.steps_left(offer.outlook, offer.node.settings, offer.node.step),
        estimate=partial(outlook.estimate, offer.outlook),
    )

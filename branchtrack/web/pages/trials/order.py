"""The page that orders a trial from a node: a form, what it would cost, and its order.

Of a node that changed something its own change can be tried, also by one button elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.analysis.trials import payloads
from branchtrack.control.launch_settings import resume_settings
from branchtrack.control.trials.ordering import create_trial, preview_trial
from branchtrack.control.trials.planning import (
    METRICS,
    REPEATS,
    STEPS,
    TrialOrder,
    logged_metrics,
    updates_left,
)
from branchtrack.core.forks import reversal
from branchtrack.core.records import Node, Run
from branchtrack.core.settings import parse_assignments
from branchtrack.core.trials import labels
from branchtrack.db import nodes
from branchtrack.db.views.nearby import order_choices
from branchtrack.errors import (
    BranchtrackError,
    CheckpointError,
    InvalidInput,
    LaunchFailed,
    NotFound,
)
from branchtrack.web.access.guards import actor
from branchtrack.web.input import forms, query
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import launchers

blueprint = Blueprint("trial_order", __name__)
FIELDS = (
    "settings",
    "same",
    "intervention",
    "at",
    "steps",
    "repeats",
    "metric",
    "margin",
    "reason",
    "allow_code_change",
    launchers.FIELD,
    forms.KEY,
)


@dataclass(frozen=True)
class Offer:
    """What the form starts from: the node, the metrics that it can be judged by, the updates left.

    ``has_own``: the node made a change that can be tried; ``names`` are those of settings,
    ``places`` the choices of where it trains.
    """

    node: Node
    run: Run
    metrics: tuple[str, ...]
    names: tuple[str, ...]
    has_own: bool
    steps: int
    places: Sequence[tuple[str, str]]


@blueprint.get("/runs/<run>/nodes/<node_id>/trial")
def form(run: str, node_id: str) -> Response:
    """Return the form; the address fills in its fields."""
    return _render(_offer(run, node_id), request.args)


@blueprint.post("/runs/<run>/nodes/<node_id>/trial")
def order(run: str, node_id: str) -> AnyResponse:
    """Order the trial, or show the form again with its error; then nothing was changed."""
    offer, submitted = _offer(run, node_id), request.form
    try:
        trial = create_trial(
            services().database,
            services().store,
            _order(offer, submitted),
            actor=actor(),
            reason=submitted.get("reason", ""),
            allow_code_change=bool(submitted.get("allow_code_change")),
            order_id=forms.order_id(submitted, "trial", offer.node.id, actor().label),
        )
    except (InvalidInput, NotFound) as error:
        return _render(offer, submitted, 422, error)
    except (CheckpointError, LaunchFailed) as error:
        return _render(offer, submitted, 409, error)
    return redirect(url_for("trial.show", run=offer.run.name, trial=trial.id), 303)


@blueprint.post("/runs/<run>/nodes/<node_id>/trial/preview")
def preview(run: str, node_id: str) -> Response:
    """Show what the trial would train at most; nothing is started."""
    offer, submitted = _offer(run, node_id), request.form
    try:
        planned = preview_trial(
            services().database,
            services().store,
            _order(offer, submitted),
            actor=actor(),
            reason=submitted.get("reason", ""),
        )
    except (InvalidInput, NotFound) as error:
        return _render(offer, submitted, 422, error)
    except (CheckpointError, LaunchFailed) as error:
        return _render(offer, submitted, 409, error)
    return _render(offer, submitted, preview=payloads.preview(planned.spec))


def _order(offer: Offer, submitted: Mapping[str, str]) -> TrialOrder:
    """Return the order that a form describes.

    Raises:
        InvalidInput: a field is none of the form's, or cannot be read.
    """
    for field, text in submitted.items():
        if field not in FIELDS:
            raise InvalidInput(field, text, ", ".join(FIELDS))
    entered = {field: submitted.get(field, "").strip() for field in FIELDS}
    lines = [line for line in entered["settings"].splitlines() if line.strip()]
    others = [ref.strip() for ref in entered["at"].split(",") if ref.strip()]
    return TrialOrder(
        [offer.node.id, *others],
        parse_assignments(lines, "settings"),
        steps=_whole(entered, "steps", offer.steps),
        repeats=_whole(entered, "repeats", REPEATS),
        metric=entered["metric"] or None,
        margin=entered["margin"] or None,
        same=bool(entered["same"]),
        intervention=bool(entered["intervention"]),
        launcher=launchers.chosen(entered),
    )


def _whole(entered: Mapping[str, str], field: str, default: int) -> int:
    return query.whole_number(field, entered[field], 1) if entered[field] else default


def _offer(run: str, node_id: str) -> Offer:
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        run_record, offered = order_choices.read(connection, node.run_id)
        if run not in (run_record.name, run_record.id):
            raise NotFound("node", f"{run}/{node_id}")
        settings = resume_settings(connection, node)
        logged = logged_metrics(connection, node)
        left = updates_left(connection, node)
    return Offer(
        node=node,
        run=run_record,
        metrics=tuple(sorted(logged, key=lambda name: (name not in METRICS, name))),
        names=tuple(name for name in settings if name not in labels.OF_TRIALS),
        has_own=node.kind in ("intervention", "fork") and reversal.is_reversible(node, settings),
        steps=min(STEPS, left) if left is not None and left > 0 else STEPS,
        places=launchers.choices(offered),
    )


def _render(
    offer: Offer,
    submitted: Mapping[str, str],
    status: int = 200,
    error: BranchtrackError | None = None,
    preview: Mapping[str, Any] | None = None,
) -> Response:
    default = {"steps": str(offer.steps), "repeats": str(REPEATS)}
    entered: dict[str, Any] = {
        field: submitted.get(field, default.get(field, "")) for field in FIELDS
    }
    field = error.field if isinstance(error, InvalidInput) else ""
    return respond(
        "trials/order.html",
        status,
        offer=offer,
        node=offer.node,
        entered=entered,
        error=error,
        field=field if field in FIELDS else "",
        preview=preview,
    )

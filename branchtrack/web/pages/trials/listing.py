"""The trials of a run, and its review: which of the changes that somebody made helped?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.analysis.trials import payloads
from branchtrack.control.trials import review
from branchtrack.control.trials.planning import STEPS
from branchtrack.control.trials.review import Reviewed
from branchtrack.core import actors
from branchtrack.core.records import Run
from branchtrack.db import runs
from branchtrack.db.orders import trials
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import trials as view

blueprint = Blueprint("trials", __name__)
PAGE = 100
FIELDS = ("steps", "repeats", "metric", "margin", "budget", "again", "reason")


@blueprint.get("/runs/<run>/trials")
def index(run: str) -> Response:
    """Return the page."""
    return _render(run, {})


@blueprint.post("/runs/<run>/trials")
def order(run: str) -> AnyResponse:
    """Order the trials of a review, and show what there is then."""
    submitted = request.form
    try:
        with services().database.read() as connection:
            planned = _planned(connection, run, submitted)
        rows = review.order_review(
            services().database,
            services().store,
            planned,
            actor=actor(),
            reason=submitted.get("reason", ""),
        )
    except InvalidInput as error:
        return _render(run, submitted, error)
    if any(row.why for row in rows):
        return _render(run, {}, rows=rows, is_ordered=True)
    return redirect(url_for("trials.index", run=run, _anchor="review"), 303)


@blueprint.post("/runs/<run>/trials/preview")
def preview(run: str) -> Response:
    """Show which changes a review would try, and what it would train at most."""
    submitted = request.form
    actors.check(actor(), "launch", ["resume"])
    try:
        with services().database.read() as connection:
            rows = _planned(connection, run, submitted)
    except InvalidInput as error:
        return _render(run, submitted, error)
    return _render(run, submitted, rows=rows)


def _planned(connection: Connection, run: str, submitted: Mapping[str, str]) -> list[Reviewed]:
    for field, text in submitted.items():
        if field not in FIELDS:
            raise InvalidInput(field, text, ", ".join(FIELDS))
    entered = {field: submitted.get(field, "").strip() for field in FIELDS}
    numbers = {
        field: query.whole_number(field, entered[field], 1)
        for field in ("steps", "repeats", "budget")
        if entered[field]
    }
    return review.plan_review(
        connection,
        run,
        **{"steps": STEPS, **numbers},
        metric=entered["metric"] or None,
        margin=entered["margin"] or None,
        again=bool(entered["again"]),
    )


def _render(
    run: str,
    submitted: Mapping[str, str],
    error: InvalidInput | None = None,
    rows: Sequence[Reviewed] | None = None,
    is_ordered: bool = False,
) -> Response:
    with services().database.read() as connection:
        run_record = runs.find_run(connection, run)
        before = request.args.get("before")
        records, total = trials.latest(connection, run_record.id, PAGE + 1, before)
        listed = _reviewed(connection, run_record) if rows is None else list(rows)
    default = {"steps": str(STEPS), "repeats": str(review.REPEATS)}
    entered: dict[str, Any] = {name: submitted.get(name, default.get(name, "")) for name in FIELDS}
    tried = view.Tried.of([row.trial for row in listed if row.trial is not None])
    return respond(
        "trials/index.html",
        200 if error is None else 422,
        run=run_record,
        lines=[line for record in records[:PAGE] for line in view.lines(record)],
        total=total,
        older=records[PAGE - 1].id if len(records) > PAGE else None,
        rows=listed,
        tried=tried,
        counts=payloads.review(listed),
        is_preview=rows is not None and not is_ordered,
        steps=sum(row.steps for row in listed),
        ordered=sum(row.order is not None for row in listed),
        entered=entered,
        error=error,
    )


def _reviewed(connection: Connection, run: Run) -> list[Reviewed]:
    """Return the changes of a run with the trial of each whose verdict stands."""
    changes = review.changes_of(connection, run.id)
    stands = trials.of_nodes(connection, [node.id for node, _ in changes])
    return [Reviewed(node, branch, stands.get(node.id)) for node, branch in changes]

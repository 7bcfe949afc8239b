"""One trial: its verdicts with a picture of the pairs, and what is to become of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.analysis.trials import payloads, sentences
from branchtrack.control.trials import cancelling, promotion, removal
from branchtrack.core import actors, formats
from branchtrack.core.records import Branch, Run
from branchtrack.core.trials import looks
from branchtrack.core.trials.records import SAME, Trial
from branchtrack.db import runs
from branchtrack.db.orders import trials
from branchtrack.errors import Forbidden, InvalidInput, NotFound
from branchtrack.web.access.guards import actor
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import trials as view

blueprint = Blueprint("trial", __name__)


@blueprint.get("/runs/<run>/trials/<trial>")
def show(run: str, trial: str) -> Response:
    """Return the page of a trial, which keeps itself up to date while it trains."""
    return _render(run, trial)


@blueprint.post("/runs/<run>/trials/<trial>/cancel")
def cancel(run: str, trial: str) -> AnyResponse:
    """Cancel a trial; a change that was not judged by then is inconclusive."""
    record = _find(run, trial)
    cancelling.cancel_trial(services().database, record.id, actor=actor(), reason=_reason())
    return redirect(url_for("trial.show", run=run, trial=record.id), 303)


@blueprint.post("/runs/<run>/trials/<trial>/remove")
def remove(run: str, trial: str) -> AnyResponse:
    """Move the branches of a trial to the trash; its verdict stays."""
    record = _find(run, trial)
    try:
        removal.remove_branches(services().database, record.id, actor=actor(), reason=_reason())
    except InvalidInput as error:
        return _render(run, record.id, error)
    return redirect(url_for("trial.show", run=run, trial=record.id), 303)


@blueprint.post("/runs/<run>/trials/<trial>/promote")
def promote(run: str, trial: str) -> AnyResponse:
    """Make a branch of a trial one of its own, and show it in the tree."""
    record = _find(run, trial)
    branch, name = (request.form.get(field, "").strip() for field in ("branch", "name"))
    ref = f"{run}/{branch}" if branch else record.id
    try:
        _check_member(record, branch)
        kept = promotion.promote(services().database, ref, name, actor=actor(), reason=_reason())
    except InvalidInput as error:
        return _render(run, record.id, error)
    address = url_for("tree.show", run=run, path=kept.name, _anchor=f"branch-{kept.name}")
    return redirect(address, 303)


def _reason() -> str:
    return request.form.get("reason", "")


def _find(run: str, trial: str) -> Trial:
    with services().database.read() as connection:
        return _read(connection, run, trial)[1]


def _read(connection: Connection, run: str, trial: str) -> tuple[Run, Trial]:
    record, run_record = trials.find(connection, trial), runs.find_run(connection, run)
    if record.run_id != run_record.id:
        raise NotFound("trial", trial)
    return run_record, record


def _render(run: str, trial: str, error: InvalidInput | None = None) -> Response:
    with services().database.read() as connection:
        run_record, record = _read(connection, run, trial)
        branches = [b for b in runs.list_branches(connection, record.run_id) if not b.trashed_at]
        names = {branch.id: branch.name for branch in branches}
        payload = payloads.trial(connection, record, names)
    rows = [view.pair_rows(record, arm, names) for arm in range(len(record.spec.arms))]
    higher = record.spec.higher_is_better
    return respond(
        "trials/show.html",
        200 if error is None else 422,
        run=run_record,
        record=record,
        trial=payload,
        lines=view.lines(record),
        changes=[
            (
                change,
                view.STYLES.get(change["verdict"], "none"),
                listed,
                view.picture(number, change, listed, higher),
            )
            for number, (change, listed) in enumerate(zip(payload["changes"], rows, strict=True))
        ],
        done=max(map(view.done_pairs, rows), default=0),
        is_same=record.kind == SAME,
        effect_words=sentences.effect_words,
        percent=formats.percent,
        members=_members(record, branches),
        more=_more(record),
        cancel_denied=_cancel_denied(record),
        error=error,
        entered=request.form,
    )


def _check_member(record: Trial, name: str) -> None:
    with services().database.read() as connection:
        members = _members(record, runs.list_branches(connection, record.run_id))
    if name and name not in members:
        raise InvalidInput("branch", name, ", ".join(members) or "none is left")


def _members(record: Trial, branches: list[Branch]) -> list[str]:
    """Return the names of the branches that a trial still has, in their order."""
    return [b.name for b in branches if b.group_id and b.group_id == record.group_id]


def _more(record: Trial) -> str:
    """Return the address of the form that orders the same trial with more repeats."""
    fields: Mapping[str, Any] = view.more_repeats(record, looks.MOST)
    node = record.subject or record.spec.nodes[0]
    with_run = {"run": request.view_args["run"]} if request.view_args else {}
    return url_for("trial_order.form", node_id=node, **with_run, **fields)


def _cancel_denied(record: Trial) -> str:
    """Return why the reader may not cancel a trial; empty if they may."""
    try:
        actors.check(actor(), "cancel", ["resume"])
        actors.check_author(actor(), record.actor, f"order trial {record.id}", "trials")
    except Forbidden as error:
        return error.what
    return ""

"""What runs and branches take up, the policy of each run, and a button that sweeps by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.db import nodes
from branchtrack.errors import BranchtrackError, InvalidInput, NotFound
from branchtrack.retention import pins
from branchtrack.retention.plans import Plan
from branchtrack.retention.policies import KEEPS, Policy
from branchtrack.retention.report import RunUsage
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import storage

blueprint = Blueprint("storage", __name__)
#: Runs on a page, and the most branches that are listed of each: those that store most.
_RUNS, _BRANCHES = 20, 50


@blueprint.get("/storage")
def index() -> Response:
    """Return a page of the runs, those that store most first.

    In the address, ``run`` is one that the page has to show, and ``preview`` one whose sweep is
    computed, not made.
    """
    run = request.args.get("preview", "")
    if not run:
        return _render({}, request.args.get("run", ""))
    submitted = {name: text for name, text in request.args.items() if name in storage.FIELDS}
    try:
        plan = storage.plan(run, storage.entered_policy(submitted))
    except InvalidInput as error:
        return _render(submitted, run, error)
    return _render(submitted, run, plan=plan)


@blueprint.post("/runs/<run>/gc")
def sweep(run: str) -> AnyResponse:
    """Sweep a run by the policy in the form, which stays with it."""
    submitted = request.form
    try:
        for field, text in submitted.items():
            if field not in storage.FIELDS:
                raise InvalidInput(field, text, ", ".join(storage.FIELDS))
        storage.sweep(run, storage.entered_policy(submitted))
    except InvalidInput as error:
        return _render(submitted, run, error)
    return redirect(url_for("storage.index", run=run, _anchor=f"run-{run}"), 303)


@blueprint.post("/nodes/<node_id>/pin")
def pin(node_id: str) -> AnyResponse:
    """Pin a node, or with ``pinned=no`` unpin it."""
    value = request.form.get("pinned", "yes")
    if value not in ("yes", "no"):
        raise InvalidInput("pinned", value, "yes, no")
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
    pins.set_pinned(services().database, node.id, value == "yes", actor())
    return redirect(url_for("node.show", node_id=node.id), 303)


def _render(
    submitted: Mapping[str, str],
    run: str = "",
    error: BranchtrackError | None = None,
    plan: Plan | None = None,
) -> Response:
    report, left = storage.measure()
    ordered = sorted(report.runs, key=lambda run: (-run.usage.stored_bytes, run.usage.name))
    page = query.page(ordered, _RUNS, _page_of(ordered, run) if run else None)
    entered = {listed.usage.name: _entered(listed.policy) for listed in page.items}
    if run in entered:
        entered[run] |= dict(submitted)
    return respond(
        "storage/index.html",
        200 if error is None else 422,
        report=report,
        leftover_bytes=left,
        page=page,
        most_branches=_BRANCHES,
        entered=entered,
        keeps=KEEPS,
        failed=run,
        error=error,
        plan=plan,
        plans=_due(page.items),
        most=ordered[0].usage.stored_bytes if ordered else 0,
    )


def _page_of(ordered: Sequence[RunUsage], run: str) -> int:
    for position, listed in enumerate(ordered):
        if run in (listed.usage.name, listed.id):
            return position // _RUNS + 1
    raise NotFound("run", run)


def _due(shown: Sequence[RunUsage]) -> dict[str, Plan]:
    """Return what a sweep of each run that has a policy would do now, by name."""
    names = [
        listed.usage.name
        for listed in shown
        if listed.policy.keep != "all" and not listed.usage.trashed
    ]
    return {name: storage.plan(name, None) for name in names}


def _entered(policy: Policy) -> dict[str, Any]:
    """Return a policy as the form's fields have it."""
    best = policy.best
    return {
        "keep": policy.keep,
        "last": policy.last or "",
        "best_metric": f"{best.metric}:{best.mode}" if best else "",
        "best_count": best.count if best else "",
        "every": policy.every or "",
        "drop_optimizer_after": policy.drop_optimizer_after or "",
    }

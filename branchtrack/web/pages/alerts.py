"""The alerts of a run, or of all, newest first, each with the fork that would mend what it says."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.control.alerts.rules import mark_all_seen, mark_seen
from branchtrack.core.health import rules
from branchtrack.core.health.alerts import LEVELS, levels_from
from branchtrack.core.health.payloads import proposal
from branchtrack.core.names import near
from branchtrack.db import runs
from branchtrack.db.views import alert_names
from branchtrack.db.watching import alerts
from branchtrack.errors import NotFound
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.input.forms import PREFIX
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import unseen_alerts

blueprint = Blueprint("alerts", __name__)
PAGE = 50


@blueprint.get("/runs/<run>/alerts")
def index(run: str) -> Response:
    """Return the page; ``branch`` and ``level`` in the address choose among the alerts."""
    level, branch_name = query.choice("level", LEVELS), request.args.get("branch", "").strip()
    with services().database.read() as connection:
        record = runs.find_run(connection, run)
        branches = {branch.id: branch for branch in runs.list_branches(connection, record.id)}
        chosen = [branch.id for branch in branches.values() if branch.name == branch_name]
        if branch_name and not chosen:
            present = sorted(branch.name for branch in branches.values() if not branch.trashed_at)
            raise NotFound("branch", branch_name, near(branch_name, present) or present[:5])
        rows = alerts.newest(
            connection,
            PAGE + 1,
            query.whole("before", 1),
            run_id=record.id,
            branch_id=chosen[0] if chosen else None,
            levels=levels_from(level),
        )
        unseen = alerts.count_unseen(connection, record.id)
    shown = rows[:PAGE]
    owners = {alert.id: branches.get(alert.branch_id) for alert in shown}
    return respond(
        "alerts/index.html",
        run=record,
        alerts=[
            (alert, proposal(alert.offer), record.name, owner.name if owner else "")
            for alert, owner in ((alert, owners[alert.id]) for alert in shown)
        ],
        styles={branch.name: branch.position for branch in branches.values()},
        names=sorted(branch.name for branch in branches.values() if branch.trashed_at is None),
        levels=LEVELS,
        level=level,
        branch=branch_name,
        unseen=unseen,
        older=shown[-1].seq if len(rows) > PAGE else None,
        changed=rules.readable(record.watch).as_json() or {},
        prefix=PREFIX,
    )


@blueprint.get("/alerts")
def all_runs() -> Response:
    """Return the alerts of all runs; ``level`` in the address is the least urgent one shown."""
    level = query.choice("level", LEVELS)
    with services().database.read() as connection:
        rows = alerts.newest(
            connection, PAGE + 1, query.whole("before", 1), levels=levels_from(level)
        )
        shown = rows[:PAGE]
        names = alert_names.of(connection, shown)
        unseen = alerts.count_unseen(connection)
    return respond(
        "alerts/all.html",
        alerts=[(alert, proposal(alert.offer), *names[alert.id]) for alert in shown],
        styles={},
        levels=LEVELS,
        level=level,
        unseen=unseen,
        older=shown[-1].seq if len(rows) > PAGE else None,
        prefix=PREFIX,
    )


@blueprint.post("/runs/<run>/alerts/seen")
def see_all(run: str) -> AnyResponse:
    """Mark all alerts of a run as seen."""
    mark_all_seen(services().database, run, actor=actor())
    unseen_alerts.forget()
    return redirect(url_for("alerts.index", run=run), 303)


@blueprint.post("/alerts/<alert>/seen")
def see(alert: str) -> AnyResponse:
    """Mark an alert as seen, and show the alerts of its run; with ``back=all`` those of all."""
    is_from_all = query.choice("back", ("run", "all")) == "all"
    record = mark_seen(services().database, alert, actor=actor())
    unseen_alerts.forget()
    if is_from_all:
        return redirect(url_for("alerts.all_runs", _anchor=f"alert-{record.id}"), 303)
    with services().database.read() as connection:
        run = runs.get_run(connection, record.run_id).name
    return redirect(url_for("alerts.index", run=run, _anchor=f"alert-{record.id}"), 303)

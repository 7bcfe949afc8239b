"""The API of alerts: those after a cursor, marking one as seen, and what runs are watched for."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack.analysis import payloads_alerts
from branchtrack.control.alerts.rules import change_rules, mark_seen
from branchtrack.core.health import rules
from branchtrack.db import runs
from branchtrack.schemas import alerts as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_alerts", __name__, url_prefix="/api/v1")


@blueprint.get("/alerts")
@documented(models.AlertPage, query=models.AlertsQuery)
def list_alerts(query: models.AlertsQuery) -> Any:
    """Return alerts of all runs, or of ``run``: those after ``since``, or the newest."""
    which: dict[str, Any] = {"since": query.since, "level": query.level, "limit": query.limit}
    with services().database.read() as connection:
        return payloads_alerts.page(connection, query.run, **which)


@blueprint.post("/alerts/<alert>/seen")
@documented(models.Alert, deed="label")
def see(alert: str) -> Any:
    """Mark an alert as seen, and return it."""
    record = mark_seen(services().database, alert, actor=actor())
    with services().database.read() as connection:
        return payloads_alerts.listed(connection, [record])[0]


@blueprint.get("/runs/<run>/watch")
@documented(models.Watch, query=Selection)
def watch(run: str) -> Any:
    """Return what the trainings of a run are watched for."""
    with services().database.read() as connection:
        record = runs.find_run(connection, run)
    return payloads_alerts.rules_of(record, rules.readable(record.watch))


@blueprint.patch("/runs/<run>/watch")
@documented(models.Watch, body=models.WatchBody, deed="label")
def change_watch(run: str, body: models.WatchBody) -> Any:
    """Change some of what a run is watched for, and return all of it."""
    record, chosen = change_rules(
        services().database,
        run,
        body.rules,
        actor=actor(),
        reason=body.reason,
        reset=body.reset,
    )
    return payloads_alerts.rules_of(record, chosen)

"""The API of alerts: those after a cursor, and marking one as seen. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack.analysis import payloads_alerts
from branchtrack.control.alerts.rules import mark_seen
from branchtrack.schemas import alerts as models
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

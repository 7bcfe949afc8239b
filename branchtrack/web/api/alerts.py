"""The API of alerts: those after a cursor, and marking one as seen. It writes no markup."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from branchtrack.analysis import payloads_alerts
from branchtrack.control.alerts.rules import mark_seen
from branchtrack.core.health.alerts import LEVELS
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.services import services

blueprint = Blueprint("api_alerts", __name__, url_prefix="/api/v1")
_PAGE, _MOST = 100, 5000


@blueprint.get("/alerts")
def list_alerts() -> Response:
    """Return alerts of all runs, or of ``run``: those after ``since``, or the newest."""
    limit = query.whole("limit", 1) or _PAGE
    if limit > _MOST:
        raise InvalidInput("limit", limit, f"at most {_MOST:,}")
    since, level = query.whole("since"), query.choice("level", LEVELS)
    with services().database.read() as connection:
        return jsonify(
            payloads_alerts.page(
                connection, request.args.get("run") or None, since=since, level=level, limit=limit
            )
        )


@blueprint.post("/alerts/<alert>/seen")
def see(alert: str) -> Response:
    """Mark an alert as seen, and return it."""
    record = mark_seen(services().database, alert, actor=actor())
    with services().database.read() as connection:
        return jsonify(payloads_alerts.listed(connection, [record])[0])

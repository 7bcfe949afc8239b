"""Alerts, and what a run is watched for, through the API."""

from __future__ import annotations

from typing import Any

from branchtrack.client.calls import Calls, Values, path_of
from branchtrack.client.connection import mapping
from branchtrack.schemas.alerts import Alert, AlertPage, Watch


class Alerts(Calls):
    """Methods about alerts."""

    def alerts(
        self, run: str | None = None, since: int | None = None, level: str = "info"
    ) -> AlertPage:
        """Return alerts of all runs, or of a run or branch: those after ``since``, or the newest.

        The ``cursor`` of the answer is the ``since`` of what is new later.
        """
        return self._get("/alerts", AlertPage, run=run, since=since, level=level)

    def watch(self, run: str) -> Watch:
        """Return what the trainings of a run are watched for."""
        return self._get(path_of("/runs/{run}/watch", run=run), Watch)

    def change_watch(self, run: str, rules: Values, **fields: Any) -> Watch:
        """Change some of what a run is watched for; ``fields`` are ``reset`` and ``reason``."""
        path = path_of("/runs/{run}/watch", run=run)
        return self._send("PATCH", path, Watch, {**fields, "rules": mapping("rules", rules)})

    def see_alert(self, alert: str) -> Alert:
        """Mark an alert as seen."""
        return self._send("POST", path_of("/alerts/{alert}/seen", alert=alert), Alert)

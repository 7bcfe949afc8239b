"""Alerts as JSON: a page of them with a cursor, for shell and API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.agents.records import Alert
from branchtrack.core.health import alerts as wording
from branchtrack.core.health import payloads
from branchtrack.core.health.rules import Rules
from branchtrack.core.records import Run
from branchtrack.db import runs
from branchtrack.db.views import alert_names
from branchtrack.db.watching import alerts


def page(
    connection: Connection,
    ref: str | None,
    *,
    since: int | None,
    level: str,
    limit: int | None,
) -> dict[str, Any]:
    """Return ``alerts``, oldest first, and ``cursor``, to be given as ``since`` the next time.

    They are those after ``since``, or without it the newest; ``more`` says whether a limit has left
    some out. ``ref`` is a run or ``RUN/BRANCH``, None for all runs; ``level`` the least urgent.

    Raises:
        NotFound, Ambiguous: there is no such run or branch. InvalidInput: no such level.
    """
    scope = _scope(connection, ref) | {"levels": wording.levels_from(wording.level(level))}
    most = 2**62 if limit is None else limit
    if since is None:
        rows = alerts.newest(connection, most + 1, **scope)
        shown = rows[:most][::-1]
    else:
        rows = alerts.after(connection, since, most + 1, **scope)
        shown = rows[:most]
    return {
        "alerts": listed(connection, shown),
        "cursor": shown[-1].seq if shown else since or 0,
        "more": len(rows) > most,
    }


def listed(connection: Connection, rows: Sequence[Alert]) -> list[dict[str, Any]]:
    """Return alerts as JSON; the branch of one whose branch was removed since is an empty text."""
    names = alert_names.of(connection, rows)
    return [payloads.alert(row, *names[row.id]) for row in rows]


def rules_of(run: Run, chosen: Rules) -> dict[str, Any]:
    """Return what a run is watched for; ``changed`` names the rules that are not the defaults."""
    return {
        "run": run.name,
        "rules": chosen.model_dump(),
        "changed": sorted(chosen.as_json() or ()),
    }


def _scope(connection: Connection, ref: str | None) -> dict[str, Any]:
    if ref is None:
        return {}
    if "/" in ref:
        branch = runs.find_branch(connection, ref)
        return {"run_id": branch.run_id, "branch_id": branch.id}
    return {"run_id": runs.find_run(connection, ref).id}

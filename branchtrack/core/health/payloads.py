"""Alerts as plain JSON values, the same for the shell, the API and webhooks.

The keys are a promise (docs/api.md); more may be added.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from branchtrack.core.agents.records import Alert
from branchtrack.core.health import alerts as wording


def alert(record: Alert, run: str, branch: str) -> dict[str, Any]:
    """Return an alert, with the names of its run and its branch.

    ``node`` is the node that ``proposal`` begins from: ``node step settings name`` and the shell
    ``command`` of the fork that would mend it, or None. Times are ISO 8601 in UTC.
    """
    return {
        "id": record.id,
        "level": record.level,
        "kind": record.kind,
        "text": record.text,
        "step": record.step,
        "run": run,
        "branch": branch,
        "node": record.node_id,
        "metric": record.metric,
        "value": record.value,
        "proposal": proposal(record.offer),
        "created_at": _moment(record.created_at),
        "seen_at": _moment(record.seen_at),
        "seen_by": record.seen_by,
        "delivered_at": _moment(record.delivered_at),
    }


def proposal(offer: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an offer with the shell command that carries it out.

    It is None for what is no offer: a row may have come from another home.
    """
    if not offer or not isinstance(offer.get("node"), str):
        return None
    changes, name = offer.get("settings"), offer.get("name")
    whole = {
        "node": offer["node"],
        "step": offer.get("step"),
        "settings": changes if isinstance(changes, dict) else {},
        "name": name if isinstance(name, str) else None,
    }
    return {**whole, "command": wording.offer_command(whole)}


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")

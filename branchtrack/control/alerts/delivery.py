"""Alerts on their way to people: a webhook and `apprise`, whichever process can send them first.

An alert is claimed before it is sent, in a transaction of its own, so that of several processes one
sends it; the claim of a process that dies expires. Nothing is sent within a transaction. Addresses
and secrets come from the environment and get into no text, row or event.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from branchtrack import processes
from branchtrack.control.alerts.webhook import Webhook
from branchtrack.core.agents.records import Alert
from branchtrack.core.health import alerts as wording
from branchtrack.core.health import payloads
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import alerts
from branchtrack.environment_variables import (
    APPRISE_VARIABLE,
    WEBHOOK_LEVEL_VARIABLE,
    WEBHOOK_PRIVATE_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    WEBHOOK_VARIABLE,
)
from branchtrack.errors import BranchtrackError

#: Seconds after which an alert is no news, and not sent any more.
_NEWS = 3600.0
#: Seconds before the second, the third... attempt; after the last the alert is given up.
_WAITS = (10.0, 60.0, 300.0, 900.0)
#: Seconds after which the claim of a process that has not said how it went counts no more.
_CLAIM = 120.0
_MOST = 20
_YES = ("1", "true", "yes", "on")

Send = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Delivery:
    """Where alerts of ``levels`` are sent; ``ways`` are functions by name that send a payload."""

    ways: Mapping[str, Send] = field(repr=False)
    levels: tuple[str, ...] = ("warn", "error")


def from_environment(variables: Mapping[str, str] | None = None) -> Delivery | None:
    """Return the delivery that the environment asks for, or None.

    Raises:
        InvalidInput: there is no such level.
    """
    values = os.environ if variables is None else variables
    text = {name: (values.get(name) or "").strip() for name in _NAMES}
    ways: dict[str, Send] = {}
    if text[WEBHOOK_VARIABLE]:
        private = text[WEBHOOK_PRIVATE_VARIABLE].lower() in _YES
        secret = text[WEBHOOK_SECRET_VARIABLE]
        ways["webhook"] = Webhook(text[WEBHOOK_VARIABLE], secret, private).send
    if text[APPRISE_VARIABLE]:
        ways["apprise"] = Notifier(text[APPRISE_VARIABLE]).send
    if not ways:
        return None
    lowest = wording.level(text[WEBHOOK_LEVEL_VARIABLE] or "warn", WEBHOOK_LEVEL_VARIABLE)
    return Delivery(ways, wording.levels_from(lowest))


_NAMES = (
    WEBHOOK_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    WEBHOOK_LEVEL_VARIABLE,
    WEBHOOK_PRIVATE_VARIABLE,
    APPRISE_VARIABLE,
)


@dataclass(frozen=True)
class Notifier:
    """Sends alerts to ``addresses`` by `apprise`, an optional dependency."""

    addresses: str = field(repr=False)

    def send(self, payload: Mapping[str, Any]) -> None:
        """Send a payload's text.

        Raises:
            OSError: `apprise` is not installed, or not all could be reached.
        """
        try:
            import apprise
        except ImportError:
            raise OSError("apprise is not installed: pip install 'branchtrack[alerts]'") from None
        kinds = {"info": "info", "warn": "warning", "error": "failure"}
        services = apprise.Apprise()
        if not all(services.add(address) for address in self.addresses.split()):
            raise OSError("apprise does not know one of its addresses")
        title = f"branchtrack: {payload['run']}/{payload['branch']}"
        kind = apprise.NotifyType(kinds[payload["level"]])
        if not services.notify(title=title, body=payload["text"], notify_type=kind):
            raise OSError("apprise could not reach all of its addresses")


def deliver(database: Database, delivery: Delivery | None, now: float | None = None) -> int:
    """Send what is due, and return how many alerts arrived.

    Raises:
        StorageError: the database failed.
    """
    if delivery is None or database.read_only:
        return 0
    now = time.time() if now is None else now
    with database.read() as connection:
        rows = alerts.undelivered(connection, now - _NEWS, now, delivery.levels, _MOST)
    return sum(
        _deliver(database, delivery, alert, now) for alert in rows if not _is_claimed(alert, now)
    )


def _is_claimed(alert: Alert, now: float) -> bool:
    claim = (alert.delivery or {}).get("claim")
    if claim is None or now - claim["at"] >= _CLAIM:
        return False
    return not processes.is_gone(claim["by"])


def _deliver(database: Database, delivery: Delivery, alert: Alert, now: float) -> bool:
    """Claim an alert, send it, and record how that went; return whether it arrived everywhere."""
    state = dict(alert.delivery or {})
    claimed = {**state, "claim": {"by": processes.own_name(), "at": now}}
    with database.transaction() as connection:
        if not alerts.change_delivery(connection, alert, claimed):
            return False
        payload = _payload(connection, alert)
        alert = alerts.get(connection, alert.id)
    sent, errors = list(state.get("sent", [])), []
    for name, send in delivery.ways.items():
        if name in sent:
            continue
        try:
            send(payload)
            sent.append(name)
        except (BranchtrackError, OSError, ValueError) as error:
            errors.append(f"{name}: {_why(error)}")
    after = _state_after(state, sent, errors, now)
    with database.transaction() as connection:
        alerts.change_delivery(connection, alert, after, delivered_at=None if errors else now)
    return not errors


def _state_after(
    state: Mapping[str, Any], sent: list[str], errors: list[str], now: float
) -> dict[str, Any]:
    attempts = int(state.get("attempts", 0)) + 1
    after: dict[str, Any] = {"attempts": attempts, "sent": sent}
    if errors:
        after["error"] = "; ".join(errors)[:300]
        if attempts > len(_WAITS):
            after["gave_up"] = True
        else:
            after["next_at"] = now + _WAITS[attempts - 1]
    return after


def _payload(connection: Connection, alert: Alert) -> dict[str, Any]:
    run = runs.get_run(connection, alert.run_id).name
    return payloads.alert(alert, run, runs.get_branch(connection, alert.branch_id).name)


def _why(error: Exception) -> str:
    """Return why something was not sent, without an address that may be a secret."""
    if isinstance(error, BranchtrackError):
        return error.what
    return (error.strerror if isinstance(error, OSError) else None) or str(error)[:100]

"""Making proposals, and ending those that nobody decided on in time.

A proposal is a request in the state ``proposed``. It carries the step that its maker saw and the
time at which it expires; a change holds only while the values that it replaces do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch, quota
from branchtrack.control.launch_settings import default_mode
from branchtrack.control.text import clean_text
from branchtrack.core import actors, preconditions
from branchtrack.core.actors import Actor
from branchtrack.core.interventions import Intervention, SetSettings
from branchtrack.core.records import Request
from branchtrack.db import audit, nodes, requests
from branchtrack.db.engine import Database

#: Seconds that a proposal waits for a decision if it does not say how many.
PATIENCE = 3600.0


def conditions(when: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the conditions of a proposal: it expires, even if its maker did not say when."""
    return {"expires_in": PATIENCE, **{k: v for k, v in (when or {}).items() if v is not None}}


def as_seen(
    conditions: Mapping[str, Any], intervention: Intervention, current: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the conditions under which a proposed change holds: while ``current`` values do.

    Unless it says itself which: whoever approves sees the values that its maker saw.
    """
    if not isinstance(intervention, SetSettings) or "only_if" in conditions:
        return dict(conditions)
    seen = {name: current.get(name) for name in intervention.values}
    known = {name: value for name, value in seen.items() if value is not None}
    return {**conditions, "only_if": known} if known else dict(conditions)


def propose_fork(
    database: Database,
    store: Store,
    node_ref: str,
    *,
    actor: Actor | str,
    settings: Mapping[str, Any] | None = None,
    name: str | None = None,
    mode: str | None = None,
    reason: str = "",
    when: Mapping[str, Any] | None = None,
) -> Request:
    """Propose to train a new branch from a node; return the request, which waits for a decision.

    Raises:
        NotFound, InvalidInput, NameTaken, Forbidden, RateLimited, LaunchFailed, CheckpointError:
        as `create_launch`; of a token or an agent they are recorded.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        node = nodes.find(connection, node_ref)
    order = {
        "node": node.id,
        "mode": mode or default_mode(node),
        "name": name,
        "settings": dict(settings or {}),
    }
    with launch.recorded_refusal(database, node, order, who, message):
        stored = preconditions.parse(conditions(when), {}, step=node.step, now=time.time())
        with database.read() as connection:
            launch.check_allowed(connection, node, order, who, message)
            launch.check_name(connection, node, name)
        checked = launch.check_order(database, store, node, order, None)
        requested = {**order, "settings": checked.overrides}
        with database.transaction() as connection:
            audit.lock(connection, node.run_id)
            quota.check_limit(connection, node, who)
            request = quota.add(connection, node, order, requested, who, message, stored)
            return requests.move(connection, request.id, "proposed", actor=who.label)


def expire_overdue(connection: Connection, actor: str, run_id: str | None = None) -> int:
    """End the proposals of a run, or of all, that nobody decided on in time; return how many."""
    now, ended = time.time(), 0
    for request in requests.proposals(connection, run_id):
        late = preconditions.overdue(request.conditions, step=0, now=now)
        if late:
            why = "Nobody decided on it in time."
            requests.move(connection, request.id, "expired", actor=actor, error=why)
            ended += 1
    return ended

"""What a run is watched for: read, and changed by whoever may label the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.control.text import clean_text
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.agents.records import Alert
from branchtrack.core.health import rules
from branchtrack.core.health.rules import Rules
from branchtrack.core.records import Run
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import alerts, watched

#: What a token's ``only`` has to allow, to change rules and to mark alerts as seen.
_DEED = "label"


def change_rules(
    database: Database,
    run_ref: str,
    changes: Mapping[str, Any],
    *,
    actor: Actor | str,
    reason: str = "",
    reset: bool = False,
) -> tuple[Run, Rules]:
    """Change some of the rules of a run, or with ``reset`` of the defaults; return those in force.

    The training process takes them over within seconds.

    Raises:
        NotFound, Ambiguous: there is no such run. Forbidden: the actor may not do it.
        InvalidInput: a rule is not valid; nothing was changed.
    """
    database.check_writable()
    why, who = clean_text("reason", reason), actors.of(actor)
    actors.check(who, _DEED, [_DEED])
    actors.check_reason(who, why)
    with database.transaction() as connection:
        run = runs.find_run(connection, run_ref)
        before = Rules() if reset else rules.readable(run.watch)
        chosen = rules.from_json({**before.model_dump(), **changes})
        if chosen.as_json() != run.watch:
            stored = chosen.as_json()
            watched.set_rules(connection, run, stored, actor=who.label, reason=why)
        return runs.get_run(connection, run.id), chosen


def mark_seen(database: Database, alert_ref: str, *, actor: Actor | str) -> Alert:
    """Note that an alert was seen, and by whom, unless somebody had before.

    Raises:
        NotFound, Ambiguous: there is no such alert. Forbidden: the actor may not do it.
    """
    who = _who(database, actor)
    with database.transaction() as connection:
        return alerts.mark_seen(connection, alerts.find(connection, alert_ref).id, who.label)


def mark_all_seen(database: Database, run_ref: str, *, actor: Actor | str) -> int:
    """Note that all alerts of a run were seen; return how many nobody had seen before.

    Raises:
        NotFound, Ambiguous: there is no such run. Forbidden: the actor may not do it.
    """
    who = _who(database, actor)
    with database.transaction() as connection:
        run = runs.find_run(connection, run_ref)
        return alerts.mark_all_seen(connection, run.id, who.label)


def _who(database: Database, actor: Actor | str) -> Actor:
    """Return who marks alerts, if they may."""
    database.check_writable()
    who = actors.of(actor)
    actors.check(who, _DEED, [_DEED])
    return who

"""Trials ordered: everything is checked, then the trial and its first pairs are queued at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes, launch, quota
from branchtrack.control.launch import check_allowed
from branchtrack.control.launch_settings import default_mode
from branchtrack.control.text import clean_text
from branchtrack.control.trials.advancing import advance
from branchtrack.control.trials.planning import (
    PlannedTrial,
    TrialOrder,
    plan_trial,
    side_order,
)
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.trials.records import GROUP, Trial
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, trials


def preview_trial(
    database: Database, store: Store, order: TrialOrder, *, actor: Actor | str, reason: str = ""
) -> PlannedTrial:
    """Return the trial that an order stands for, checked as `create_trial` checks it.

    Raises:
        NotFound, InvalidInput, Forbidden, RateLimited, CheckpointError, LaunchFailed: as there.
    """
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        planned = plan_trial(connection, order)
        check_allowed(connection, planned.nodes[0], _fields(planned, order), who, message)
    _check_sides(database, store, planned)
    return planned


def create_trial(
    database: Database,
    store: Store,
    order: TrialOrder,
    *,
    actor: Actor | str,
    reason: str = "",
    allow_code_change: bool = True,
) -> Trial:
    """Queue the first pairs of a trial; workers train them, and `advancing` queues the others.

    A trial of a token or an agent is recorded as a request, too, and counts towards its limit.

    Raises:
        NotFound, InvalidInput, Forbidden, RateLimited: nothing was changed.
        CheckpointError: the checkpoint of a node is incomplete or damaged.
        LaunchFailed: the run has no command that could start it again.
        CodeChanged: code or packages are not those of a node, unless ``allow_code_change``.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        planned = plan_trial(connection, order)
    node, fields = planned.nodes[0], _fields(planned, order)
    with launch.recorded_refusal(database, node, fields, who, message):
        with database.read() as connection:
            check_allowed(connection, node, fields, who, message)
            for start in () if allow_code_change else planned.nodes:
                code_changes.check(connection, start, planned.spec.command)
        _check_sides(database, store, planned)
    spec = replace(planned.spec, checks_code=not allow_code_change)
    with database.transaction() as connection:
        group = groups.create(
            connection, node.run_id, planned.group, GROUP, actor=who.label, reason=message
        )
        trial = trials.create(
            connection,
            node.run_id,
            spec,
            kind=planned.kind,
            group_id=group.id,
            subject=planned.subject,
            actor=who.label,
            reason=message,
        )
        request = quota.receive(connection, node, fields, fields["settings"], who, message)
        if request is not None:
            requests.move(connection, request.id, "applied", actor=who.label, step=node.step)
            requests.move(
                connection, request.id, "done", actor=who.label, result={"trial": trial.id}
            )
    return advance(database, store, trial.id)


def _fields(planned: PlannedTrial, order: TrialOrder) -> dict[str, Any]:
    """Return the order as a token's request keeps it."""
    spec = planned.spec
    settings = {name: value for arm in spec.arms for name, value in arm.settings.items()}
    return {
        "node": spec.nodes[0],
        "mode": default_mode(planned.nodes[0]),
        "name": None,
        "settings": settings,
        "trial": {
            "changes": [arm.label for arm in spec.arms],
            "steps": spec.steps,
            "repeats": spec.repeats,
            "metric": spec.metric,
            "most_steps": spec.most_steps,
        },
    }


def _check_sides(database: Database, store: Store, planned: PlannedTrial) -> None:
    """Check every kind of training of a trial before any is queued."""
    known: dict[str, list[str]] = {}
    spec = planned.spec
    seed = 0 if spec.is_reseeded else None
    for node in planned.nodes:
        for side in range(1 + len(spec.arms)):
            order = side_order(spec, node, side, seed)
            launch.check_order(database, store, node, order, spec.command, known=known)

"""Trials ordered: everything is checked, then the trial and its first pairs are queued at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

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
from branchtrack.core.records import Node
from branchtrack.core.trials.records import GROUP, Trial
from branchtrack.db import requests, runs
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
    order_id: str | None = None,
) -> Trial:
    """Queue the first pairs of a trial; workers train them, and `advancing` queues the others.

    A trial of a token or an agent is recorded as a request, too, and counts towards its limit.
    What was ordered under an ``order_id`` before is returned as it is; it is the trial's id.

    Raises:
        NotFound, InvalidInput, Forbidden, RateLimited: nothing was changed.
        CheckpointError: the checkpoint of a node is incomplete or damaged.
        LaunchFailed: the run has no command that could start it again.
        CodeChanged: code or packages are not those of a node, unless ``allow_code_change``.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        if earlier := trials.of_order(connection, order_id):
            return earlier
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
        runs.lock_names(connection, node.run_id)
        # The same order may have come twice at once.
        trial = trials.of_order(connection, order_id)
        if trial is None:
            manner: dict[str, Any] = {"actor": who.label, "reason": message}
            group = groups.create(connection, node.run_id, planned.group, GROUP, **manner)
            subject: dict[str, Any] = {
                "kind": planned.kind,
                "group_id": group.id,
                "subject": planned.subject,
            }
            trial = trials.create(
                connection, node.run_id, spec, **subject, **manner, trial_id=order_id
            )
            _record_request(connection, trial, node, fields, who)
    return advance(database, store, trial.id)


def _record_request(
    connection: Connection, trial: Trial, node: Node, fields: dict[str, Any], who: Actor
) -> None:
    """Store the order of a trial by a token or an agent as a request that is done."""
    request = quota.receive(connection, node, fields, fields["settings"], who, trial.reason)
    if request is None:
        return
    requests.move(connection, request.id, "applied", actor=who.label, step=node.step)
    requests.move(connection, request.id, "done", actor=who.label, result={"trial": trial.id})


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

"""Going on in the same branch from its last node in a new process: which branches can; orders.

The points that the branch has past that node stay as a lost tail. It knows no worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes, launch_checks, quota
from branchtrack.control import launch as orders
from branchtrack.control.launch import CheckedOrder
from branchtrack.control.launch_settings import default_mode, mode_in_force
from branchtrack.control.text import clean_text
from branchtrack.core import actors, lifecycle, plain_values
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import STOP_AT
from branchtrack.core.queueing import valid_turn
from branchtrack.core.records import Branch, Launch, Node, Segment
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, ordering, queue, withdrawals
from branchtrack.errors import InvalidInput


def continue_branch(
    database: Database,
    store: Store,
    branch_ref: str,
    *,
    actor: Actor | str,
    settings: Mapping[str, Any] | None = None,
    reason: str = "",
    priority: int | None = None,
    labels: Iterable[str] | None = None,
    retries: int = 0,
    environment: dict[str, Any] | None = None,
    entry_point: Mapping[str, Any] | None = None,
    allow_code_change: bool = True,
    order_id: str | None = None,
    launcher: dict[str, Any] | None = None,
) -> Launch:
    """Queue a new process that goes on in a branch from its last node, with some settings changed.

    ``retries`` is how often it is started again if it crashes, ``launcher`` what carries it out if
    no worker of this home does. The others as for `create_launch`.
    What was ordered under an ``order_id`` before is returned as it is; it is the launch's id.

    Raises:
        NotFound, InvalidInput, Forbidden, RateLimited: nothing was changed.
        CheckpointMissing, CheckpointDamaged: the checkpoint of the node is incomplete or damaged.
        LaunchFailed: the run has no command that could start it again.
        CodeChanged: code or packages are not those of the node, unless ``allow_code_change``.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    order: dict[str, Any] = {"name": None, "settings": dict(settings or {})}
    turn = valid_turn(priority, labels, retries, launcher=launcher)
    plain_values.check(order["settings"], "")
    actors.check(who, "launch", ["continue", *order["settings"]])
    actors.check_reason(who, message)
    with database.read() as connection:
        if earlier := launches.of_order(connection, order_id):
            return earlier[0]
        branch = runs.find_branch(connection, branch_ref)
        _last, head = startable(connection, branch)
        quota.check_limit(connection, head, who)
        if not allow_code_change:
            code_changes.check(connection, head, entry_point)
    order |= {"node": head.id, "mode": default_mode(head)}
    checked = orders.check_order(database, store, head, order, entry_point)
    facts = {"environment": environment, "entry_point": checked.command, **turn}
    facts |= {"launch_id": order_id, "launcher": launcher}
    with database.transaction() as connection:
        return _queue(connection, branch, checked, who, message, facts)


def _queue(
    connection: Connection,
    branch: Branch,
    checked: CheckedOrder,
    who: Actor,
    message: str,
    facts: Mapping[str, Any],
) -> Launch:
    runs.lock_names(connection, branch.run_id)
    # The same order may have come twice at once.
    if earlier := launches.of_order(connection, facts["launch_id"]):
        return earlier[0]
    branch = runs.get_branch(connection, branch.id)
    last, head = startable(connection, branch)
    if head.id != checked.node.id:
        raise _refusal(connection, branch, "has a newer node by now", "another try")
    request = quota.receive(connection, head, checked.order, checked.overrides, who, message)
    launch = ordering.order_continuation(
        connection,
        branch,
        last,
        head,
        overrides=checked.overrides,
        relative=checked.relative,
        mode=checked.mode,
        actor=who.label,
        reason=message or f"Continued; the branch was {_status(last)}.",
        **facts,
    )
    if request is not None:
        quota.finish(connection, request, head, launch)
    return launch


def is_suspended(connection: Connection, branch: Branch) -> bool:
    """Return whether a pause has ended the process of a branch."""
    if branch.segment_id is None:
        return False
    return segments.get(connection, branch.segment_id).status == lifecycle.SUSPENDED


def check_wakeable(
    connection: Connection, branch: Branch, home: Path | None
) -> dict[str, Any] | None:
    """Return the command that continues a suspended branch, if it is not the recorded one.

    With a ``home`` the command of a project that was moved together with it is found.

    Raises:
        LaunchFailed: it cannot be started here.
    """
    _last, head = startable(connection, branch)
    return launch_checks.startable(connection, head, home, None)


def wake(
    connection: Connection,
    branch: Branch,
    who: Actor,
    reason: str,
    entry_point: dict[str, Any] | None,
) -> Launch:
    """Queue the process that goes on in a suspended branch, by the command of `check_wakeable`.

    Raises:
        BranchTaken: another process has continued it.
    """
    why = reason or "Continued after a pause."
    return _order_unchanged(connection, branch, who.label, why, entry_point=entry_point)


def _order_unchanged(
    connection: Connection, branch: Branch, actor: str, reason: str, **facts: Any
) -> Launch:
    last, head = startable(connection, branch)
    return ordering.order_continuation(
        connection,
        branch,
        last,
        head,
        overrides=_stop_ahead(connection, last, head),
        mode=mode_in_force(head, default_mode(head)),
        actor=actor,
        reason=reason,
        **facts,
    )


def startable(connection: Connection, branch: Branch) -> tuple[Segment, Node]:
    """Return the last segment of a branch, and the node from which it can go on.

    Raises:
        InvalidInput: a process trains it or is about to, or it has no node yet.
    """
    if branch.segment_id is None or branch.head_id is None:
        nothing = "has no node to go on from"
        raise _refusal(connection, branch, nothing, "a branch with a node: start its script again")
    segment = segments.get(connection, branch.segment_id)
    status = lifecycle.segment_status(segment, time.time())
    if status == "waiting":
        launch = launches.of_branch(connection, branch.id)
        started_by = f"launch {launch.id}" if launch else "a process"
        raise _refusal(connection, branch, f"is waiting for {started_by}", "a branch that is idle")
    if status in lifecycle.LIVE or (status == "lost" and segment.gone is False):
        trained = f"is being trained by process {segment.pid} on {segment.host}"
        raise _refusal(connection, branch, trained, "a branch that nothing trains")
    return segment, nodes.get(connection, branch.head_id)


def crashed(connection: Connection) -> list[Branch]:
    """Return the branches whose process was killed or is gone, in the order that they began.

    Those whose script raised an error, was refused, or was stopped are not among them.
    """
    now = time.time()
    candidates = [
        segment
        for segment in segments.current(connection, [*lifecycle.LIVE, "failed"])
        if lifecycle.segment_status(segment, now) in lifecycle.CRASHED
    ]
    listed = []
    for segment in candidates:
        branch = runs.get_branch(connection, segment.branch_id)
        is_kept = branch.archived_at is None and branch.trashed_at is None
        if is_kept and branch.head_id and _has_crashed(connection, segment):
            listed.append(branch)
    return listed


def retry(connection: Connection, launch: Launch, segment: Segment) -> Launch | None:
    """Order a failed launch once more, if it may be started again; return the new launch.

    One whose process never trained goes back into the queue itself. A branch that another process
    has continued meanwhile is left alone, and so is one that was trained up to its ``stop_at``.

    Raises:
        IllegalTransition: the launch is another worker's by now.
    """
    left = (launch.retries or 0) - 1
    branch = runs.get_branch(connection, launch.branch_id)
    if left < 0 or branch.segment_id != segment.id or _has_stopped(connection, launch, branch):
        return None
    if segment.started_at is None:
        return queue.put_back(connection, launch, launch.worker or "", retries=left)
    why = f"Started again after a crash; {left} more times at most."
    return _repeat(connection, launch, branch, why, retries=left)


def go_on(connection: Connection, launch: Launch, reason: str) -> Launch | None:
    """Order the launch that goes on with one that has ended, in the same job of its cluster.

    None if its branch has finished, was continued by another, was paused on purpose or is gone.

    Raises:
        InvalidInput: its process may still train.
    """
    if withdrawals.is_withdrawn(connection, launch):
        return None
    segment = segments.get(connection, launch.segment_id)
    if segment.status in ("finished", lifecycle.SUSPENDED):
        return None
    branch = runs.get_branch(connection, launch.branch_id)
    is_left = branch.segment_id != segment.id or branch.trashed_at is not None
    if is_left or launch.state == "cancelled" or _has_stopped(connection, launch, branch):
        return None
    job = {name: getattr(launch, name) for name in ("job", "job_state", "job_host", "job_reason")}
    return _repeat(connection, launch, branch, reason, retries=launch.retries, **job)


def _repeat(
    connection: Connection, launch: Launch, branch: Branch, reason: str, **facts: Any
) -> Launch:
    inherited = ("environment", "entry_point", "priority", "labels", "group_id", "launcher")
    facts |= {name: getattr(launch, name) for name in inherited}
    return _order_unchanged(connection, branch, launch.actor, reason, retry_of=launch.id, **facts)


def _stop_ahead(connection: Connection, last: Segment, head: Node) -> dict[str, Any]:
    """Return the step at which the process of a segment was to stop, if ``head`` is before it.

    What ended that process, a crash or a pause, does not change where it ends.
    """
    launch = launches.of_branch(connection, last.branch_id)
    if launch is None or launch.segment_id != last.id:
        return {}
    stop = launch.overrides.get(STOP_AT.name)
    return {} if stop is None or stop <= head.step else {STOP_AT.name: stop}


def _has_stopped(connection: Connection, launch: Launch, branch: Branch) -> bool:
    """Return whether a launch has trained to the step at which it was to stop."""
    stop = launch.overrides.get(STOP_AT.name)
    if stop is None or branch.head_id is None:
        return False
    head = nodes.get(connection, branch.head_id)
    return head.kind == "final" and head.step >= stop


def _has_crashed(connection: Connection, segment: Segment) -> bool:
    """Return whether a failed segment's process was killed, rather than ended by an error."""
    if segment.status != "failed":
        return True
    launch = launches.of_branch(connection, segment.branch_id)
    if launch is None or launch.segment_id != segment.id:
        return False
    return launch.exit_code is None or launch.exit_code < 0


def _status(segment: Segment) -> str:
    return lifecycle.shown(lifecycle.segment_status(segment, time.time()))


def _refusal(connection: Connection, branch: Branch, state: str, allowed: str) -> InvalidInput:
    name = f"{runs.get_run(connection, branch.run_id).name}/{branch.name}"
    return InvalidInput("branch", name, allowed, what=f"{name} {state}.")

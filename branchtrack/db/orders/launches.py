"""Launches: orders to start a process that trains from a node, and their progress.

An order creates the branch, its waiting segment, its fork node and the launch in one transaction,
so a name that is taken is detected before anything exists.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from branchtrack.core import lifecycle
from branchtrack.core.builtin_settings import DIRECTIVES
from branchtrack.core.names import new_id, valid_name
from branchtrack.core.overrides import WEIGHTS_ONLY
from branchtrack.core.records import Branch, Change, Group, Launch, NewNode, Node, Segment
from branchtrack.db import audit, nodes, runs, seals, segments
from branchtrack.db.orders import groups
from branchtrack.db.tables import branches, launches, requests
from branchtrack.db.tables import nodes as node_rows
from branchtrack.db.tables import runs as run_rows
from branchtrack.db.tables import segments as segment_rows
from branchtrack.errors import IllegalTransition, NotFound

#: The kind of a launch that goes on in the branch of its node.
CONTINUE = "continue"
#: Ends of a launch whose branch is removed if nothing was trained on it.
_GIVEN_UP = ("failed", "cancelled")


def order(
    connection: Connection,
    node: Node,
    *,
    branch_name: str,
    overrides: dict[str, Any],
    mode: str,
    actor: str,
    reason: str,
    strict: bool = False,
    environment: dict[str, Any] | None = None,
    entry_point: dict[str, Any] | None = None,
    priority: int | None = None,
    labels: Sequence[str] | None = None,
    retries: int | None = None,
    group: Group | None = None,
    relative: Mapping[str, Any] | None = None,
) -> Launch:
    """Queue a process that resumes ``node`` with ``overrides`` as a new branch.

    ``entry_point`` is the command to start, if it is not the run's own. A higher ``priority`` is
    started first (None: 0), by a worker that has all ``labels``, and again after a crash as often
    as ``retries`` says. ``group`` is what the branch
    belongs to. ``relative`` has those overrides as they were asked for, relative to the node's
    values; the event keeps them.

    A branch of that name whose own launch failed before it trained gives up its name.

    Raises:
        InvalidInput: the branch's name is not valid. NameTaken: the run has such a branch.
    """
    valid_name(branch_name)
    _give_up_name(connection, node.run_id, branch_name, actor)
    branch = runs.create_branch(connection, node.run_id, branch_name, node.id)
    if group is not None:
        branch = groups.add_branch(connection, group, branch)
    segment = segments.create(connection, node.run_id, branch.id, node.id, node.step)
    planned = fork_of(node, overrides, mode, actor, reason)
    fork = nodes.commit(connection, replace(planned, branch_id=branch.id, segment_id=segment.id))
    return add(
        connection,
        fork,
        node_id=node.id,
        mode=mode,
        overrides=overrides,
        actor=actor,
        reason=reason,
        strict=strict,
        environment=environment,
        branch=branch_name,
        entry_point=entry_point,
        priority=priority,
        labels=sorted(labels) if labels else None,
        retries=retries,
        group_id=None if group is None else group.id,
        relative=relative,
    )


def order_continuation(
    connection: Connection,
    branch: Branch,
    last: Segment,
    head: Node,
    *,
    overrides: dict[str, Any],
    mode: str,
    actor: str,
    reason: str,
    **facts: Any,
) -> Launch:
    """Queue a process that goes on in a branch from its ``head``, after its ``last`` segment.

    Raises:
        BranchTaken: another process has continued the branch since it was read.
    """
    segment = segments.follow(connection, branch, last, head, actor=actor)
    planned = fork_of(head, overrides, mode, actor, reason)
    fork = nodes.commit(connection, replace(planned, branch_id=branch.id, segment_id=segment.id))
    return add(
        connection,
        fork,
        node_id=head.id,
        kind=CONTINUE,
        mode=mode,
        overrides=overrides,
        actor=actor,
        reason=reason,
        branch=branch.name,
        strict=False,
        **facts,
    )


def add(
    connection: Connection,
    fork: Node,
    *,
    actor: str,
    relative: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Launch:
    """Queue a launch whose process begins at ``fork``; ``facts`` are columns of its row.

    ``relative`` as in `order`.
    """
    now, launch_id = time.time(), new_id()
    connection.execute(
        launches.insert().values(
            id=launch_id,
            run_id=fork.run_id,
            fork_node_id=fork.id,
            branch_id=fork.branch_id,
            segment_id=fork.segment_id,
            actor=actor,
            state="queued",
            created_at=now,
            updated_at=now,
            **facts,
        )
    )
    launch = get(connection, launch_id)
    _log(connection, launch, actor, relative)
    return launch


def fork_of(node: Node, overrides: dict[str, Any], mode: str, actor: str, reason: str) -> NewNode:
    """Return the fork node that a resume of ``node`` begins with, still without a branch."""
    changes = tuple(
        Change(name, node.settings.get(name), value)
        for name, value in overrides.items()
        if node.settings.get(name) != value
    )
    return NewNode(
        run_id=node.run_id,
        branch_id="",
        segment_id="",
        parent_id=node.id,
        step=node.step,
        epoch=node.epoch,
        kind="fork",
        state_digest=node.state_digest,
        settings={**node.settings, **_in_force(overrides)},
        param_groups=node.param_groups,
        changes=changes,
        metrics=node.metrics,
        message=reason,
        actor=actor,
        environment=node.environment,
        restored=dict(WEIGHTS_ONLY) if mode == "weights" else None,
    )


def branch_name(connection: Connection, launch: Launch) -> str:
    """Return the name of the branch that a launch created, also if that was withdrawn."""
    query = select(branches.c.name).where(branches.c.id == launch.branch_id)
    return connection.execute(query).scalar() or launch.branch or launch.branch_id


def is_withdrawn(connection: Connection, launch: Launch) -> bool:
    """Return whether what a launch created was removed again."""
    query = select(segment_rows.c.id).where(segment_rows.c.id == launch.segment_id)
    return connection.execute(query).first() is None


def newest_of_run(connection: Connection, run_id: str) -> Launch | None:
    """Return the newest launch of a run."""
    query = select(launches).where(launches.c.run_id == run_id).order_by(launches.c.seq.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _record(row)


def of_run(
    connection: Connection, run_id: str, branch_ids: Iterable[str]
) -> tuple[dict[str, Launch], Launch | None]:
    """Return the newest launch of each of some branches of a run, and of the run itself."""
    last = select(func.max(launches.c.seq)).where(launches.c.run_id == run_id).scalar_subquery()
    condition = or_(launches.c.branch_id.in_(list(branch_ids)), launches.c.seq == last)
    query = select(launches).where(launches.c.run_id == run_id, condition).order_by(launches.c.seq)
    records = [_record(row) for row in connection.execute(query)]
    chosen = set(branch_ids)
    by_branch = {launch.branch_id: launch for launch in records if launch.branch_id in chosen}
    return by_branch, records[-1] if records else None


def withdraw(connection: Connection, launch: Launch, actor: str) -> bool:
    """Remove what a failed or cancelled launch created if its process never trained; its row stays.

    Returns False if something else refers to it by now: a request, or a branch that starts there.
    """
    row = connection.execute(select(branches).where(branches.c.id == launch.branch_id)).first()
    if row is None:
        return False
    if launch.kind == CONTINUE:
        return _withdraw_continuation(connection, launch, Branch(**row._mapping), actor)
    if not _never_trained(connection, Branch(**row._mapping)):
        return False
    references = select(requests.c.id).where(
        or_(
            requests.c.branch_id == launch.branch_id,
            requests.c.segment_id == launch.segment_id,
            requests.c.node_id == launch.fork_node_id,
        )
    )
    if connection.execute(references.limit(1)).first() is not None:
        return False
    connection.execute(node_rows.delete().where(node_rows.c.id == launch.fork_node_id))
    connection.execute(segment_rows.delete().where(segment_rows.c.id == launch.segment_id))
    connection.execute(branches.delete().where(branches.c.id == launch.branch_id))
    seals.renew(connection, node_rows, launch.fork_node_id)
    seals.renew(connection, segment_rows, launch.segment_id)
    seals.renew(connection, branches, launch.branch_id)
    audit.append(
        connection,
        launch.run_id,
        kind="branch",
        ref=launch.branch_id,
        state="withdrawn",
        actor=actor,
        payload={"branch": row.name, "launch": launch.id, "node": launch.fork_node_id},
        reason="Its process trained nothing.",
    )
    return True


def _withdraw_continuation(
    connection: Connection, launch: Launch, branch: Branch, actor: str
) -> bool:
    """Give a branch back the segment and the head that it had before a launch continued it."""
    segment = segments.get(connection, launch.segment_id)
    is_untouched = (
        branch.segment_id == segment.id
        and branch.head_id == launch.fork_node_id
        and segment.started_at is None
        and not nodes.children(connection, launch.fork_node_id)
    )
    answered = select(requests.c.id).where(requests.c.segment_id == segment.id).limit(1)
    if not is_untouched or connection.execute(answered).first() is not None:
        return False
    fork = nodes.get(connection, launch.fork_node_id)
    before = (
        select(segment_rows.c.id)
        .where(segment_rows.c.branch_id == branch.id, segment_rows.c.position < segment.position)
        .order_by(segment_rows.c.position.desc())
        .limit(1)
    )
    earlier = {"head_id": fork.parent_id, "segment_id": connection.execute(before).scalar_one()}
    connection.execute(branches.update().where(branches.c.id == branch.id).values(**earlier))
    connection.execute(node_rows.delete().where(node_rows.c.id == fork.id))
    connection.execute(segment_rows.delete().where(segment_rows.c.id == segment.id))
    for table, key in ((branches, branch.id), (node_rows, fork.id), (segment_rows, segment.id)):
        seals.renew(connection, table, key)
    audit.append(
        connection,
        launch.run_id,
        kind="segment",
        ref=segment.id,
        state="withdrawn",
        actor=actor,
        payload={"branch": branch.name, "launch": launch.id, "node": fork.id},
        reason="Its process trained nothing.",
    )
    return True


def move(
    connection: Connection,
    launch_id: str,
    state: str,
    actor: str,
    *,
    owner: str | None = None,
    **facts: Any,
) -> Launch:
    """Move a launch to ``state``; ``facts``: worker, pid, exit_code, error, log, device, cancel.

    With an ``owner`` it moves only while it belongs to that worker.

    Raises:
        IllegalTransition: its life has no such move, or another process made one first.
    """
    change = launches.update().where(
        launches.c.id == launch_id, launches.c.state.in_(lifecycle.sources("launch", state))
    )
    if owner is not None:
        change = change.where(launches.c.worker == owner)
    moved = connection.execute(change.values(state=state, updated_at=time.time(), **facts))
    launch = get(connection, launch_id)
    if not moved.rowcount:
        raise IllegalTransition("launch", launch.state, state)
    _log(connection, launch, actor)
    return launch


def repeated_by(connection: Connection, launch_id: str) -> Launch | None:
    """Return the launch by which a crashed one was started again, if it was."""
    row = connection.execute(select(launches).where(launches.c.retry_of == launch_id)).first()
    return None if row is None else _record(row)


def get(connection: Connection, launch_id: str) -> Launch:
    """Return the launch with exactly that id."""
    row = connection.execute(select(launches).where(launches.c.id == launch_id)).first()
    if row is None:
        raise NotFound("launch", launch_id)
    return _record(row)


def find(connection: Connection, ref: str) -> Launch:
    """Return the launch whose id starts with ``ref``.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    row = runs.one_by_prefix(connection, select(launches), launches.c.id, "launch", ref)
    if row is None:
        raise NotFound("launch", ref)
    return _record(row)


def of_branch(connection: Connection, branch_id: str) -> Launch | None:
    """Return the newest launch of a branch, if it was launched at all."""
    query = (
        select(launches).where(launches.c.branch_id == branch_id).order_by(launches.c.seq.desc())
    )
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _record(row)


def mode_of(connection: Connection, fork_node_id: str) -> str | None:
    """Return the mode of the launch that created a fork node, or None if no launch did."""
    query = select(launches.c.mode).where(launches.c.fork_node_id == fork_node_id)
    return connection.execute(query).scalar()


def unfinished(connection: Connection) -> list[Launch]:
    """Return the launches that have not reached an end, oldest first."""
    query = (
        select(launches)
        .where(launches.c.state.not_in(sorted(lifecycle.LAUNCH_ENDS)))
        .order_by(launches.c.seq)
    )
    return [_record(row) for row in connection.execute(query)]


def recorded_commands(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    """Return every command a launch could start, with its run's name; the newest run first."""
    run_commands = select(run_rows.c.name, run_rows.c.entry_point, run_rows.c.created_at)
    others = select(run_rows.c.name, launches.c.entry_point, run_rows.c.created_at).join_from(
        launches, run_rows, launches.c.run_id == run_rows.c.id
    )
    rows = [*connection.execute(run_commands), *connection.execute(others)]
    newest_first = sorted(rows, key=lambda row: -row.created_at)
    return [(row.name, row.entry_point) for row in newest_first if row.entry_point]


def _give_up_name(connection: Connection, run_id: str, name: str, actor: str) -> None:
    """Free a name whose branch has nothing but a launch that failed at once or was cancelled.

    If something refers to such a branch, it cannot be removed; then it gets another name.
    """
    runs.lock_names(connection, run_id)
    branch = runs.named_branch(connection, run_id, name)
    if branch is None or not _never_trained(connection, branch):
        return
    launch = of_branch(connection, branch.id)
    if launch is None or not withdraw(connection, launch, actor):
        runs.rename_branch(
            connection,
            branch,
            f"{name[:72]}-failed",
            actor=actor,
            reason="Its launch failed before it trained, and its name was requested again.",
        )


def gives_up_name(connection: Connection, run_id: str, name: str) -> bool:
    """Return whether the branch of that name failed before it trained, so that `order` frees it."""
    branch = runs.named_branch(connection, run_id, name)
    return branch is not None and _never_trained(connection, branch)


def _never_trained(connection: Connection, branch: Branch) -> bool:
    launch = of_branch(connection, branch.id)
    if launch is None or launch.state not in _GIVEN_UP or branch.segment_id != launch.segment_id:
        return False
    segment = segments.get(connection, launch.segment_id)
    node_ids = [node.id for node in nodes.of_branch(connection, branch.id)]
    return (
        segment.status in ("failed", "stopped")
        and segment.started_at is None
        and node_ids == [launch.fork_node_id]
        and not nodes.children(connection, launch.fork_node_id)
    )


def _in_force(overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the overrides without directives, which are not values in force."""
    return {name: value for name, value in overrides.items() if name not in DIRECTIVES}


def _log(
    connection: Connection,
    launch: Launch,
    actor: str,
    relative: Mapping[str, Any] | None = None,
) -> None:
    audit.append(
        connection,
        launch.run_id,
        kind="launch",
        ref=launch.id,
        state=launch.state,
        actor=actor,
        reason=launch.error or launch.reason,
        payload={
            "branch": launch.branch_id,
            "node": launch.node_id,
            **launch.overrides,
            **({"relative": dict(relative)} if relative else {}),
            **_variables(launch.environment),
            **seals.renew_for_event(connection, launches, launch.id),
        },
    )


def _variables(environment: dict[str, Any] | None) -> dict[str, Any]:
    """Return the names of variables that differ for a launch; a log never has their values."""
    parts = {name: sorted(v) for name, v in (environment or {}).items() if v and name != "keep"}
    return {"environment": parts} if parts else {}


def _record(row: Row[Any]) -> Launch:
    return Launch(**row._mapping)

"""Segments: the stretch of a branch that one process trains, its owner and its heartbeat."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, func, or_, select

from branchtrack import processes
from branchtrack.core import lifecycle
from branchtrack.core.names import new_id
from branchtrack.core.records import Branch, Node, Segment
from branchtrack.db import audit, seals
from branchtrack.db.tables import branches, nodes, segments
from branchtrack.errors import BranchTaken, IllegalTransition, NotFound


def new(run_id: str, branch_id: str, start_node_id: str | None, step: int) -> Segment:
    """Return a waiting segment with an id of its own, not in the database yet."""
    return Segment(
        id=new_id(),
        run_id=run_id,
        branch_id=branch_id,
        position=0,
        start_node_id=start_node_id,
        status="waiting",
        pid=None,
        host=None,
        step=step,
        max_steps=None,
        rate=None,
        declared=[],
        settings={},
        script=None,
        error=None,
        started_at=None,
        heartbeat_at=None,
        ended_at=None,
    )


def create(
    connection: Connection, run_id: str, branch_id: str, start_node_id: str | None, step: int
) -> Segment:
    """Create a waiting segment after the branch's others, as the branch's current one."""
    return add(connection, new(run_id, branch_id, start_node_id, step))


def add(connection: Connection, segment: Segment) -> Segment:
    """Add a `new` segment after its branch's others, and make it the branch's current one."""
    branch_id = segment.branch_id
    count = select(func.count()).where(segments.c.branch_id == branch_id)
    segment = replace(segment, position=connection.execute(count).scalar_one())
    row = {name: value for name, value in vars(segment).items() if name != "gone"}
    connection.execute(segments.insert(), row)
    connection.execute(
        branches.update().where(branches.c.id == branch_id).values(segment_id=segment.id)
    )
    seals.renew(connection, segments, segment.id)
    seals.renew(connection, branches, branch_id)
    return segment


def follow(
    connection: Connection, branch: Branch, last: Segment, start: Node, *, actor: str
) -> Segment:
    """Create a waiting segment of the same branch after ``last``, whose process is gone.

    Raises:
        BranchTaken: another process has continued the branch since ``last`` was read.
    """
    audit.lock(connection, branch.run_id)
    query = select(branches.c.segment_id, branches.c.head_id).where(branches.c.id == branch.id)
    row = connection.execute(query).one()
    if row.segment_id != last.id or row.head_id != start.id:
        raise BranchTaken(branch.name, get(connection, row.segment_id).process)
    end(
        connection,
        last.id,
        "failed",
        actor=actor,
        error=f"Its process was gone; another continues from node {start.id}.",
    )
    return create(connection, branch.run_id, branch.id, start.id, start.step)


def current(connection: Connection, statuses: Collection[str]) -> list[Segment]:
    """Return the current segments of branches that are stored with one of ``statuses``."""
    query = (
        select(segments)
        .join(branches, branches.c.segment_id == segments.c.id)
        .where(segments.c.status.in_(sorted(statuses)))
        .order_by(segments.c.started_at)
    )
    return [record(row._mapping) for row in connection.execute(query)]


def take(
    connection: Connection,
    segment_id: str,
    *,
    actor: str,
    declared: list[dict[str, Any]],
    settings: dict[str, Any],
    max_steps: int | None,
    script: dict[str, Any] | None = None,
    offers: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
) -> Segment:
    """Make a waiting segment this process's own; only one process ever succeeds.

    Raises:
        IllegalTransition: another process has taken it, or it has ended.
    """
    now = time.time()
    taken = connection.execute(
        segments.update()
        .where(segments.c.id == segment_id, segments.c.status == "waiting")
        .values(
            status="running",
            pid=os.getpid(),
            host=socket.gethostname(),
            declared=declared,
            settings=settings,
            max_steps=max_steps,
            script=script,
            started_at=now,
            heartbeat_at=now,
            offers=offers or {},
            process=processes.own_name(),
            environment=environment,
        )
    )
    seals.renew(connection, segments, segment_id)
    segment = get(connection, segment_id)
    if not taken.rowcount:
        raise IllegalTransition("segment", segment.status, "running")
    audit.append(
        connection,
        segment.run_id,
        kind="segment",
        ref=segment_id,
        state="running",
        actor=actor,
        step=segment.step,
        payload={"pid": segment.pid, "host": segment.host},
    )
    return segment


def heartbeat(
    connection: Connection,
    segment_id: str,
    step: int,
    rate: float | None,
    settings: dict[str, Any],
    max_steps: int | None = None,
    saves: dict[str, Any] | None = None,
) -> None:
    """Record that the process lives: its step, ``rate`` in updates per second, its settings."""
    ends: dict[str, Any] = {} if max_steps is None else {"max_steps": max_steps}
    ends |= {} if saves is None else {"saves": saves}
    connection.execute(
        segments.update()
        .where(segments.c.id == segment_id, segments.c.status.in_(sorted(lifecycle.LIVE)))
        .values(heartbeat_at=time.time(), step=step, rate=rate, settings=settings, **ends)
    )
    seals.renew(connection, segments, segment_id)


def count_saves(connection: Connection, segment_id: str, saves: dict[str, Any] | None) -> None:
    """Record how many saves were due, made and missed; nothing if none was due yet."""
    if saves is not None:
        changed = segments.update().where(segments.c.id == segment_id)
        connection.execute(changed.values(saves=saves))
        seals.renew(connection, segments, segment_id)


def hold(connection: Connection, segment_id: str, *, paused: bool, step: int, actor: str) -> None:
    """Mark a segment as paused, or as running again; do nothing if it already is."""
    status = "paused" if paused else "running"
    done = connection.execute(
        segments.update()
        .where(
            segments.c.id == segment_id,
            segments.c.status.in_([other for other in lifecycle.LIVE if other != status]),
        )
        .values(status=status, step=step, heartbeat_at=time.time())
    )
    if done.rowcount:
        seals.renew(connection, segments, segment_id)
        run_id = get(connection, segment_id).run_id
        audit.append(
            connection, run_id, kind="segment", ref=segment_id, state=status, actor=actor, step=step
        )


def hand_over(connection: Connection, segment_id: str) -> None:
    """Record this process for a waiting segment it will train, so that its death is detected."""
    connection.execute(
        segments.update()
        .where(segments.c.id == segment_id, segments.c.status == "waiting")
        .values(pid=os.getpid(), host=socket.gethostname(), process=processes.own_name())
    )
    seals.renew(connection, segments, segment_id)


def trained_steps(connection: Connection, run_id: str) -> int:
    """Return the updates that a run has made in all, over all of its branches."""
    start = select(nodes.c.step).where(nodes.c.id == segments.c.start_node_id).scalar_subquery()
    steps = segments.c.step - func.coalesce(start, 0)
    query = select(func.coalesce(func.sum(steps), 0)).where(segments.c.run_id == run_id)
    return int(connection.execute(query).scalar_one())


def end(
    connection: Connection, segment_id: str, status: str, *, actor: str, error: str | None = None
) -> bool:
    """Close a segment as ``finished``, ``stopped`` or ``failed``; False if it was closed before."""
    now = time.time()
    allowed = lifecycle.sources("segment", status)
    done = connection.execute(
        segments.update()
        .where(segments.c.id == segment_id, segments.c.status.in_(allowed))
        .values(status=status, ended_at=now, error=error)
    )
    if done.rowcount:
        seals.renew(connection, segments, segment_id)
        _log_end(connection, segment_id, status, actor, error or "")
    return bool(done.rowcount)


def complete(connection: Connection, segment_id: str, status: str, *, actor: str) -> None:
    """Correct the end of a segment that has failed only because its last state was missing."""
    corrected = segments.update().where(segments.c.id == segment_id, segments.c.status == "failed")
    if connection.execute(corrected.values(status=status, error=None)).rowcount:
        seals.renew(connection, segments, segment_id)
        _log_end(connection, segment_id, status, actor, "Its final state was uploaded later.")


def _log_end(connection: Connection, segment_id: str, status: str, actor: str, reason: str) -> None:
    segment = get(connection, segment_id)
    audit.append(
        connection,
        segment.run_id,
        kind="segment",
        ref=segment_id,
        state=status,
        actor=actor,
        step=segment.step,
        reason=reason,
    )


def get(connection: Connection, segment_id: str) -> Segment:
    """Return the segment with exactly that id."""
    row = connection.execute(select(segments).where(segments.c.id == segment_id)).first()
    if row is None:
        raise NotFound("segment", segment_id)
    return record(row._mapping)


def environment_before(connection: Connection, node_id: str) -> dict[str, Any] | None:
    """Return the environment of the last process on the way to a node, if it was recorded."""
    query = select(nodes.c.parent_id, nodes.c.kind, segments.c.environment).join(
        segments, segments.c.id == nodes.c.segment_id
    )
    current: str | None = node_id
    while current is not None:
        row = connection.execute(query.where(nodes.c.id == current)).one()
        if row.environment is not None or row.kind != "fork":
            recorded: dict[str, Any] | None = row.environment
            return recorded
        current = row.parent_id
    return None


def set_environment(connection: Connection, segment_id: str, environment: dict[str, Any]) -> None:
    """Record what a process's script had read of its surroundings by the end."""
    changed = segments.update().where(segments.c.id == segment_id)
    connection.execute(changed.values(environment=environment))
    seals.renew(connection, segments, segment_id)


def set_code(connection: Connection, segment_id: str, code: dict[str, Any]) -> None:
    """Record what runs in the process of a segment, see `Segment.code`."""
    connection.execute(segments.update().where(segments.c.id == segment_id).values(code=code))
    seals.renew(connection, segments, segment_id)


def code_before(connection: Connection, node_id: str) -> dict[str, Any] | None:
    """Return what ran in the last process on the way to a node, if it was recorded.

    It takes a statement for each process without, however many nodes these made.
    """
    start, parent = nodes.alias("start"), nodes.alias("parent")
    query = (
        select(segments.c.code, start.c.segment_id.label("at"), parent.c.segment_id.label("above"))
        .outerjoin(start, start.c.id == segments.c.start_node_id)
        .outerjoin(parent, parent.c.id == start.c.parent_id)
    )
    of_node = select(nodes.c.segment_id).where(nodes.c.id == node_id)
    current: str | None = connection.execute(of_node).scalar_one()
    while current is not None:
        row = connection.execute(query.where(segments.c.id == current)).one()
        if row.code is not None:
            recorded: dict[str, Any] = row.code
            return recorded
        # The node that a fork begins with is one of its own.
        current = row.above if row.at == current else row.at
    return None


def codes_of_branches(
    connection: Connection, branch_ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return what ran in the first process of each branch, by branch, if it was recorded."""
    query = select(segments.c.branch_id, segments.c.code).where(
        segments.c.branch_id.in_(list(branch_ids)), segments.c.code.is_not(None)
    )
    rows = connection.execute(query.order_by(segments.c.position.desc()))
    return {row.branch_id: row.code for row in rows if row.code is not None}


def of_process(connection: Connection, pid: int, since: float) -> Segment | None:
    """Return the segment that a process of this machine took after ``since``, if it took one."""
    query = (
        select(segments)
        .where(
            segments.c.pid == pid,
            segments.c.host == socket.gethostname(),
            segments.c.started_at >= since,
        )
        .order_by(segments.c.started_at.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else record(row._mapping)


def list_of_run(connection: Connection, run_id: str) -> list[Segment]:
    """Return every segment of a run, in no particular order."""
    query = select(segments).where(segments.c.run_id == run_id)
    return [record(row._mapping) for row in connection.execute(query)]


def unended_of_run(connection: Connection, run_id: str, also: Iterable[str] = ()) -> list[Segment]:
    """Return the segments of a run that have not ended, and those in ``also``."""
    is_wanted = or_(segments.c.ended_at.is_(None), segments.c.id.in_(list(also)))
    query = select(segments).where(segments.c.run_id == run_id, is_wanted)
    return [record(row._mapping) for row in connection.execute(query)]


def record(row: Mapping[str, Any] | RowMapping) -> Segment:
    """Return a row of the table as a value; a live one's process is checked for being gone."""
    segment = Segment(**{str(name): value for name, value in row.items()})
    if segment.process is None or segment.ended_at is not None:
        return segment
    return replace(segment, gone=processes.is_gone_from_here(segment.process))

"""Launches: orders to start a process that trains from a node, and their progress.

An order creates the branch, its waiting segment, its fork node and the launch in one transaction,
so a name that is taken is detected before anything exists.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from branchtrack.core import lifecycle
from branchtrack.core.records import Launch
from branchtrack.db import audit, runs, seals
from branchtrack.db.tables import branches, groups, launches
from branchtrack.db.tables import runs as run_rows
from branchtrack.errors import IllegalTransition, InvalidInput, NotFound

#: The kind of a launch that goes on in the branch of its node.
CONTINUE = "continue"


def branch_name(connection: Connection, launch: Launch) -> str:
    """Return the name of the branch that a launch created, also if that was withdrawn."""
    query = select(branches.c.name).where(branches.c.id == launch.branch_id)
    return connection.execute(query).scalar() or launch.branch or launch.branch_id


def newest_of_run(connection: Connection, run_id: str) -> Launch | None:
    """Return the newest launch of a run."""
    query = select(launches).where(launches.c.run_id == run_id).order_by(launches.c.seq.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _record(row)


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
    log(connection, launch, actor)
    return launch


def of_order(connection: Connection, order_id: str | None) -> list[Launch]:
    """Return the launches made by an order with an id of its own, which is theirs or their group's.

    What was started again after a crash is left out.

    Raises:
        InvalidInput: all that it ordered was cancelled or deleted since.
    """
    if order_id is None:
        return []
    is_of_order = (launches.c.id == order_id) | (launches.c.group_id == order_id)
    query = select(launches).where(is_of_order, launches.c.retry_of.is_(None))
    made = [_record(row) for row in connection.execute(query.order_by(launches.c.seq))]
    standing = select(branches.c.id).where(
        branches.c.id.in_([launch.branch_id for launch in made]), branches.c.trashed_at.is_(None)
    )
    present = set(connection.execute(standing).scalars())
    if made and not any(
        launch.state != "cancelled" and launch.branch_id in present for launch in made
    ):
        raise used_up(order_id)
    return made


def used_up(order_id: str) -> InvalidInput:
    """Return the error for an order that comes again after what it made is gone."""
    what = "This form was sent before, and what it ordered was cancelled or deleted since."
    return InvalidInput("key", order_id, "send it again: its key is a new one now", what=what)


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


def states(connection: Connection, launch_ids: Sequence[str]) -> dict[str, str]:
    """Return the states of launches by id."""
    query = select(launches.c.id, launches.c.state).where(launches.c.id.in_(launch_ids))
    return {row.id: row.state for row in connection.execute(query)}


def forks_of_groups(kind: str) -> Select[tuple[str]]:
    """Return the query for the nodes that launches in groups of a kind began with.

    A branch that was taken out of its group is among them.
    """
    of_kind = select(groups.c.id).where(groups.c.kind == kind)
    return select(launches.c.fork_node_id).where(launches.c.group_id.in_(of_kind))


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


def log(
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

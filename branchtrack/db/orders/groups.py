"""Groups: branches made by one order, under one name of their run."""

from __future__ import annotations

import time
from dataclasses import replace

from sqlalchemy import Connection, select

from branchtrack.core.names import free_name, new_id, valid_name
from branchtrack.core.records import Branch, Group
from branchtrack.db import audit, runs, seals
from branchtrack.db.tables import branches, groups, launches


def create(
    connection: Connection,
    run_id: str,
    name: str,
    kind: str,
    *,
    actor: str,
    reason: str = "",
    group_id: str | None = None,
) -> Group:
    """Create a group; a name that is taken gets a number after it.

    ``group_id`` is its id, if the order has chosen one.

    Raises:
        InvalidInput: the name is not valid.
    """
    valid_name(name, "group")
    runs.lock_names(connection, run_id)
    chosen, moment = free(connection, run_id, name), time.time()
    group = Group(group_id or new_id(), run_id, chosen, kind, actor, reason, moment)
    connection.execute(groups.insert(), vars(group))
    seals.renew(connection, groups, group.id)
    audit.append(
        connection,
        run_id,
        kind="group",
        ref=group.id,
        state="created",
        actor=actor,
        reason=reason,
        payload={"name": group.name, "kind": kind},
    )
    return group


def free(connection: Connection, run_id: str, name: str) -> str:
    """Return the name that a group of a run gets that is to be called ``name``."""
    return free_name(name, {group.name for group in of_run(connection, run_id)})


def add_branch(connection: Connection, group: Group, branch: Branch) -> Branch:
    """Make a branch a member of a group."""
    changed = branches.update().where(branches.c.id == branch.id).values(group_id=group.id)
    connection.execute(changed)
    seals.renew(connection, branches, branch.id)
    return replace(branch, group_id=group.id)


def remove_branch(connection: Connection, branch: Branch) -> None:
    """Make a branch a member of no group; its launch says which it was ordered with."""
    connection.execute(branches.update().where(branches.c.id == branch.id).values(group_id=None))
    seals.renew(connection, branches, branch.id)


def remove_if_empty(connection: Connection, group_id: str | None) -> None:
    """Remove a group that neither a branch nor a launch belongs to any more."""
    if group_id is None:
        return
    in_use = select(branches.c.id).where(branches.c.group_id == group_id)
    ordered = select(launches.c.id).where(launches.c.group_id == group_id)
    if connection.execute(in_use.union(ordered).limit(1)).first() is None:
        connection.execute(groups.delete().where(groups.c.id == group_id))
        seals.renew(connection, groups, group_id)


def of_run(connection: Connection, run_id: str) -> list[Group]:
    """Return the groups of a run, oldest first."""
    query = select(groups).where(groups.c.run_id == run_id).order_by(groups.c.created_at)
    return [Group(**row._mapping) for row in connection.execute(query)]


def members(connection: Connection, group_id: str) -> list[Branch]:
    """Return the branches of a group in the order they were created."""
    query = select(branches).where(branches.c.group_id == group_id).order_by(branches.c.position)
    return [Branch(**row._mapping) for row in connection.execute(query)]


def name_of(connection: Connection, group_id: str | None) -> str | None:
    """Return the name of the group with that id, if there is one."""
    if group_id is None:
        return None
    return connection.execute(select(groups.c.name).where(groups.c.id == group_id)).scalar()

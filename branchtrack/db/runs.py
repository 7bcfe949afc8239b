"""Runs and branches: created, found by name or id, and listed."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Select, Text, cast, func, or_, select

from branchtrack.core.names import (
    as_name,
    free_name,
    is_id_prefix,
    near,
    new_id,
    storable,
    valid_name,
)
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import audit, seals
from branchtrack.db.deletion import visibility
from branchtrack.db.engine import upsert
from branchtrack.db.tables import branches, runs
from branchtrack.errors import Ambiguous, NameTaken, NotFound

#: Names that are compared with an unknown one.
_MOST_SUGGESTED = 2000


def create_run(
    connection: Connection,
    name: str,
    *,
    actor: str,
    entry_point: dict[str, Any] | None = None,
    default_branch: str = "main",
    number_if_taken: bool = True,
    run_id: str | None = None,
    command: str | None = None,
    requested_name: str | None = None,
) -> Run:
    """Create a run; a name that is taken gets a number after it, or raises NameTaken.

    ``command`` is the digest by which the same command finds it again. ``requested_name`` is kept
    with the run's first event if the name had to be another one.
    """
    valid_name(name)
    while True:
        taken = _names_like(connection, name)
        if name in taken and not number_if_taken:
            raise NameTaken("run", name, free_name(name, taken))
        now = time.time()
        run = Run(
            run_id or new_id(),
            free_name(name, taken),
            default_branch,
            entry_point,
            [],
            "",
            now,
            now,
            command,
        )
        row = upsert(connection, runs).values(**vars(run)).on_conflict_do_nothing()
        # PostgreSQL: another process may have taken the name since it was looked up.
        if connection.execute(row).rowcount:
            seals.renew(connection, runs, run.id)
            changed = requested_name is not None and requested_name != run.name
            audit.append(
                connection,
                run.id,
                kind="run",
                ref=run.id,
                state="created",
                actor=actor,
                payload={"asked": requested_name} if changed else None,
            )
            return run


def _names_like(connection: Connection, name: str) -> set[str]:
    """Return the name if it is taken, and those that are it with a number after it."""
    numbered = runs.c.name.startswith(f"{name[:76]}-", autoescape=True)
    query = select(runs.c.name).where(or_(runs.c.name == name, numbered))
    return set(connection.execute(query).scalars())


def of_command(connection: Connection, command: str) -> Run | None:
    """Return the newest run that a command has begun."""
    query = select(runs).where(runs.c.command == command, visibility.RUNS)
    row = connection.execute(query.order_by(runs.c.created_at.desc()).limit(1)).first()
    return None if row is None else Run(**row._mapping)


def with_policy(connection: Connection) -> list[Run]:
    """Return the runs that have a policy of retention, the oldest first."""
    # A missing value is the JSON null.
    has = cast(runs.c.retention, Text) != "null"
    query = select(runs).where(runs.c.retention.is_not(None), has, visibility.RUNS)
    rows = connection.execute(query.order_by(runs.c.created_at))
    return [Run(**row._mapping) for row in rows]


def of_training(connection: Connection, **facts: str) -> list[Run]:
    """Return the runs whose training has such facts (``process`` or ``site``), the newest first.

    See `Run.training`; the facts are long enough to be found in the record's text.
    """
    written = cast(runs.c.entry_point, Text)
    query = select(runs).where(*(written.contains(fact) for fact in facts.values()))
    rows = connection.execute(query.where(visibility.RUNS).order_by(runs.c.created_at.desc()))
    candidates = [Run(**row._mapping) for row in rows]
    return [run for run in candidates if facts.items() <= run.training.items()]


def set_entry_point(
    connection: Connection, run: Run, entry_point: dict[str, Any], *, actor: str
) -> None:
    """Record another command for a run: its folder or its script has moved."""
    before = run.entry_point or {}
    connection.execute(runs.update().where(runs.c.id == run.id).values(entry_point=entry_point))
    seals.renew(connection, runs, run.id)
    audit.append(
        connection,
        run.id,
        kind="run",
        ref=run.id,
        state="moved",
        actor=actor,
        payload={name: [before.get(name), entry_point.get(name)] for name in ("argv", "cwd")},
    )


def create_branch(
    connection: Connection,
    run_id: str,
    name: str,
    start_node_id: str | None = None,
    *,
    branch_id: str | None = None,
) -> Branch:
    """Create a branch of a run.

    Raises:
        InvalidInput: the name is not valid. NameTaken: the run has such a branch.
    """
    valid_name(name)
    lock_names(connection, run_id)
    taken = branch_names(connection, run_id)
    if name in taken:
        raise NameTaken("branch", name, free_name(name, taken))
    # Not their number: a branch that failed may have been removed.
    last = select(func.max(branches.c.position)).where(branches.c.run_id == run_id)
    position = connection.execute(last).scalar()
    position = 0 if position is None else position + 1
    branch = Branch(
        branch_id or new_id(), run_id, name, position, start_node_id, None, None, time.time()
    )
    connection.execute(branches.insert(), vars(branch))
    seals.renew(connection, branches, branch.id)
    return branch


def suggested_name(connection: Connection, node: Node) -> str:
    """Return a free name for a branch that starts at ``node``."""
    parent = get_branch(connection, node.branch_id).name
    taken = branch_names(connection, node.run_id)
    return free_name(as_name(parent, "branch"), taken)


def lock_names(connection: Connection, run_id: str) -> None:
    """Keep other writers from naming branches of a run until this transaction ends."""
    # The run's row is the lock under which its branches are named and numbered.
    audit.lock(connection, run_id)


def rename_branch(
    connection: Connection, branch: Branch, preferred: str, *, actor: str, reason: str
) -> str:
    """Give a branch the name ``preferred``, or a free one like it; return the name."""
    lock_names(connection, branch.run_id)
    name = free_name(preferred, {other.name for other in list_branches(connection, branch.run_id)})
    connection.execute(branches.update().where(branches.c.id == branch.id).values(name=name))
    seals.renew(connection, branches, branch.id)
    audit.append(
        connection,
        branch.run_id,
        kind="branch",
        ref=branch.id,
        state="renamed",
        actor=actor,
        reason=reason,
        payload={"from": branch.name, "to": name},
    )
    return name


def get_run(connection: Connection, run_id: str) -> Run:
    """Return the run with exactly that id."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
    if row is None:
        raise NotFound("run", run_id)
    return Run(**row._mapping)


def find_run(connection: Connection, ref: str, *, trashed: bool = False) -> Run:
    """Return the run of that name, or whose id starts with ``ref`` (four characters or more).

    One in the trash counts only if ``trashed``.

    Raises:
        NotFound: none, with similar names. Ambiguous: several.
    """
    query = select(runs) if trashed else select(runs).where(visibility.RUNS)
    row = connection.execute(query.where(runs.c.name == storable(ref))).first()
    if row is None:
        row = one_by_prefix(connection, query, runs.c.id, "run", ref)
    if row is None:
        if not trashed and _in_trash(connection, ref):
            raise trashed_error("run", ref)
        latest = select(runs.c.name).where(visibility.RUNS).order_by(runs.c.updated_at.desc())
        names = list(connection.execute(latest.limit(_MOST_SUGGESTED)).scalars())
        raise NotFound("run", ref, near(ref, names) or names[:3])
    return Run(**row._mapping)


def trashed_error(kind: str, ref: str, restored_as: str = "") -> NotFound:
    """Return the error of something in the trash, which ``branchtrack restore`` brings back."""
    fix = f"It is in the trash: `branchtrack restore {restored_as or ref}` brings it back."
    error = NotFound(kind, ref, fix=fix)
    error.facts["trashed"] = True
    return error


def _in_trash(connection: Connection, ref: str) -> bool:
    named = or_(runs.c.name == storable(ref), runs.c.id == storable(ref))
    query = select(runs.c.id).where(named, runs.c.purged_at.is_(None))
    return connection.execute(query).first() is not None


def get_branch(connection: Connection, branch_id: str) -> Branch:
    """Return the branch with exactly that id."""
    row = connection.execute(select(branches).where(branches.c.id == branch_id)).first()
    if row is None:
        raise NotFound("branch", branch_id)
    return Branch(**row._mapping)


def find_branch(connection: Connection, ref: str) -> Branch:
    """Return the branch ``run/branch``, the default branch of ``run``, or the one with that id.

    Raises:
        NotFound: no such run or branch. Ambiguous: several.
    """
    run_ref, slash, name = ref.partition("/")
    if not slash:
        row = one_by_prefix(connection, select(branches), branches.c.id, "branch", ref)
        if row is not None:
            branch = Branch(**row._mapping)
            if branch.trashed_at is not None:
                raise trashed_error("branch", ref)
            find_run(connection, branch.run_id)
            return branch
    run = find_run(connection, run_ref)
    name = name or run.default_branch
    named = named_branch(connection, run.id, name)
    if named is not None and named.trashed_at is None:
        return named
    by_name = {branch.name: branch for branch in list_branches(connection, run.id)}
    if name in by_name:
        raise trashed_error("branch", f"{run.name}/{name}")
    listed = [key for key, branch in by_name.items() if branch.trashed_at is None]
    close = [f"{run.name}/{other}" for other in near(name, listed) or sorted(listed)]
    raise NotFound("branch", f"{run.name}/{name}", close)


def list_branches(connection: Connection, run_id: str) -> list[Branch]:
    """Return the run's branches in the order they were created, those in the trash included."""
    query = select(branches).where(branches.c.run_id == run_id).order_by(branches.c.position)
    return [Branch(**row._mapping) for row in connection.execute(query)]


def branch_names(connection: Connection, run_id: str) -> set[str]:
    """Return the names of the run's branches."""
    return set(
        connection.execute(select(branches.c.name).where(branches.c.run_id == run_id)).scalars()
    )


def named_branch(connection: Connection, run_id: str, name: str) -> Branch | None:
    """Return the run's branch of exactly that name, if there is one."""
    query = select(branches).where(branches.c.run_id == run_id, branches.c.name == name)
    row = connection.execute(query).first()
    return None if row is None else Branch(**row._mapping)


def names(connection: Connection) -> set[str]:
    """Return the names of all runs."""
    return set(connection.execute(select(runs.c.name)).scalars())


def count_runs(connection: Connection, *, archived: bool = False) -> int:
    """Return the number of runs, or of those that are archived."""
    query = select(func.count()).select_from(runs).where(visibility.RUNS)
    query = query.where(runs.c.archived_at.is_not(None)) if archived else query
    return int(connection.execute(query).scalar_one())


def one_by_prefix(
    connection: Connection, query: Select[Any], column: Any, kind: str, ref: str
) -> Any:
    """Return the single row whose id starts with ``ref``, or None; Ambiguous if several do."""
    if not is_id_prefix(ref):
        return None
    rows = connection.execute(query.where(column.startswith(ref)).limit(4)).all()
    if len(rows) > 1:
        raise Ambiguous(kind, ref, [row.id for row in rows])
    return rows[0] if rows else None

"""Runs and branches: created, found by name or id, and listed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Text, and_, cast, func, or_, select

from branchtrack.core.names import (
    as_name,
    free_name,
    is_id_prefix,
    near,
    new_id,
    storable,
    valid_name,
)
from branchtrack.core.records import Branch, Node, Run, Segment
from branchtrack.db import audit, seals, segments
from branchtrack.db.engine import upsert
from branchtrack.db.tables import branches, nodes, runs
from branchtrack.db.tables import segments as segment_table
from branchtrack.errors import Ambiguous, NameTaken, NotFound

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
#: Names that are compared with an unknown one.
_MOST_SUGGESTED = 2000


@dataclass(frozen=True)
class RunSummary:
    """A line of the list of runs. ``segments`` are its branches' current ones, by position."""

    run: Run
    branches: int
    nodes: int
    segments: tuple[Segment, ...]


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
    query = select(runs).where(runs.c.command == command).order_by(runs.c.created_at.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else Run(**row._mapping)


def of_training(connection: Connection, **facts: str) -> list[Run]:
    """Return the runs whose training has such facts (``process`` or ``site``), the newest first.

    See `Run.training`; the facts are long enough to be found in the record's text.
    """
    written = cast(runs.c.entry_point, Text)
    query = select(runs).where(*(written.contains(fact) for fact in facts.values()))
    rows = connection.execute(query.order_by(runs.c.created_at.desc()))
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
    taken = {branch.name for branch in list_branches(connection, run_id)}
    if name in taken:
        raise NameTaken("branch", name, free_name(name, taken))
    # Not their number: a branch that failed may have been removed.
    last = select(func.max(branches.c.position)).where(branches.c.run_id == run_id)
    position = connection.execute(last).scalar()
    position = 0 if position is None else position + 1
    branch = Branch(
        branch_id or new_id(), run_id, name, position, start_node_id, None, None, time.time()
    )
    connection.execute(branches.insert().values(**vars(branch)))
    seals.renew(connection, branches, branch.id)
    return branch


def suggested_name(connection: Connection, node: Node) -> str:
    """Return a free name for a branch that starts at ``node``."""
    parent = get_branch(connection, node.branch_id).name
    taken = {branch.name for branch in list_branches(connection, node.run_id)}
    return free_name(as_name(parent, "branch"), taken)


def lock_names(connection: Connection, run_id: str) -> None:
    """Keep other writers from naming branches of a run until this transaction ends."""
    # The run's row is the lock under which its branches are named and numbered (PostgreSQL).
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))


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


def find_run(connection: Connection, ref: str) -> Run:
    """Return the run of that name, or whose id starts with ``ref`` (four characters or more).

    Raises:
        NotFound: none, with similar names. Ambiguous: several.
    """
    row = connection.execute(select(runs).where(runs.c.name == storable(ref))).first()
    if row is None:
        row = one_by_prefix(connection, select(runs), runs.c.id, "run", ref)
    if row is None:
        latest = select(runs.c.name).order_by(runs.c.updated_at.desc()).limit(_MOST_SUGGESTED)
        names = list(connection.execute(latest).scalars())
        raise NotFound("run", ref, near(ref, names) or names[:3])
    return Run(**row._mapping)


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
            return Branch(**row._mapping)
    run = find_run(connection, run_ref)
    name = name or run.default_branch
    by_name = {branch.name: branch for branch in list_branches(connection, run.id)}
    if name not in by_name:
        close = [f"{run.name}/{other}" for other in near(name, by_name) or sorted(by_name)]
        raise NotFound("branch", f"{run.name}/{name}", close)
    return by_name[name]


def list_branches(connection: Connection, run_id: str) -> list[Branch]:
    """Return the run's branches in the order they were created."""
    query = select(branches).where(branches.c.run_id == run_id).order_by(branches.c.position)
    return [Branch(**row._mapping) for row in connection.execute(query)]


def list_runs(connection: Connection, limit: int | None = None) -> list[RunSummary]:
    """Return the latest changed runs first, with counts and their branches' current segments."""
    query = select(runs).order_by(runs.c.updated_at.desc(), runs.c.id).limit(limit)
    return _summaries(connection, query)


def list_made(
    connection: Connection, limit: int, after: tuple[float, str] | None = None
) -> list[RunSummary]:
    """Return the latest created runs first, starting with those created before ``after``.

    ``after`` is (created_at, id) of the last one seen: unlike the order of changes this one does
    not change while a reader pages through it.
    """
    query = select(runs).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    if after is not None:
        created_at, run_id = after
        same = and_(runs.c.created_at == created_at, runs.c.id < run_id)
        query = query.where(or_(runs.c.created_at < created_at, same))
    return _summaries(connection, query)


def count_runs(connection: Connection) -> int:
    """Return the number of runs."""
    return int(connection.execute(select(func.count()).select_from(runs)).scalar_one())


def _summaries(connection: Connection, query: Select[Any]) -> list[RunSummary]:
    rows = [Run(**row._mapping) for row in connection.execute(query)]
    summaries: list[RunSummary] = []
    for first in range(0, len(rows), _CHUNK):
        summaries += _summarized(connection, rows[first : first + _CHUNK])
    return summaries


def _summarized(connection: Connection, rows: Sequence[Run]) -> list[RunSummary]:
    ids = [run.id for run in rows]
    node_counts = _counts(connection, nodes.c.run_id, ids)
    branch_counts = _counts(connection, branches.c.run_id, ids)
    current: dict[str, list[Segment]] = {}
    heads = (
        select(segment_table)
        .join(branches, branches.c.segment_id == segment_table.c.id)
        .where(branches.c.run_id.in_(ids))
        .order_by(branches.c.position)
    )
    for row in connection.execute(heads):
        current.setdefault(row.run_id, []).append(segments.record(row._mapping))
    return [
        RunSummary(
            run,
            branch_counts.get(run.id, 0),
            node_counts.get(run.id, 0),
            tuple(current.get(run.id, ())),
        )
        for run in rows
    ]


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


def _counts(connection: Connection, column: Any, ids: Sequence[str]) -> dict[str, int]:
    query = select(column, func.count()).where(column.in_(ids)).group_by(column)
    return {key: count for key, count in connection.execute(query)}

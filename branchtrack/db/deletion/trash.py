"""The trash: runs and branches that are hidden, and come back as they were or are purged."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, Connection, func, or_, select

from branchtrack.core.records import Branch, Run
from branchtrack.db import labels
from branchtrack.db.tables import branches, events, nodes
from branchtrack.db.tables import runs as run_rows
from branchtrack.environment_variables import TRASH_VARIABLE
from branchtrack.errors import InvalidInput

DELETED, RESTORED = "deleted", "restored"
#: Days in the trash, if the environment names no other number.
DAYS = 30.0
_MOST_DAYS = 36_500
_SECONDS = 86_400


@dataclass(frozen=True)
class Entry:
    """A deleted run, or branches of one that were deleted by one order, in order of creation.

    ``branches`` is empty for a run. ``nodes`` counts those that lie in the trash with it.
    """

    run: Run
    branches: tuple[Branch, ...]
    nodes: int
    trashed_at: float
    actor: str
    reason: str

    @property
    def name(self) -> str:
        """What restores it: ``RUN`` or ``RUN/BRANCH``."""
        return f"{self.run.name}/{self.branches[0].name}" if self.branches else self.run.name

    @property
    def id(self) -> str:
        """The id of the run, or of the first branch."""
        return self.branches[0].id if self.branches else self.run.id


def put(connection: Connection, items: Iterable[Run | Branch], *, actor: str, why: str) -> None:
    """Move runs or branches to the trash, all at the same moment."""
    moment = time.time()
    for item in items:
        facts = {"name": item.name}
        labels.change(connection, item, DELETED, actor, why, facts, trashed_at=moment)


def take_out(
    connection: Connection, items: Iterable[Run | Branch], *, actor: str, why: str
) -> None:
    """Make runs or branches visible again."""
    for item in items:
        facts = {"name": item.name}
        labels.change(connection, item, RESTORED, actor, why, facts, trashed_at=None)


def entries(connection: Connection) -> list[Entry]:
    """Return what lies in the trash, the latest deleted first."""
    is_there = run_rows.c.trashed_at.is_not(None), run_rows.c.purged_at.is_(None)
    deleted = [Run(**row._mapping) for row in connection.execute(select(run_rows).where(*is_there))]
    by_order = _branches_by_order(connection, {run.id for run in deleted})
    counts, orders = _node_counts(connection), _orders(connection)
    listed = [_entry(run, (), counts, orders) for run in deleted]
    listed += [_entry(run, tuple(members), counts, orders) for run, members in by_order]
    return sorted(listed, key=lambda entry: entry.trashed_at, reverse=True)


def trash_days() -> float:
    """Return for how many days the trash is kept.

    Raises:
        InvalidInput: the variable of the environment is not such a number.
    """
    text = os.environ.get(TRASH_VARIABLE, "").strip()
    try:
        days = float(text) if text else DAYS
    except ValueError:
        days = -1.0
    if not 0 <= days <= _MOST_DAYS:
        raise InvalidInput(TRASH_VARIABLE, text, f"a number of days from 0 to {_MOST_DAYS:,}")
    return days


def due(entry: Entry) -> float:
    """Return when `branchtrack gc` purges an entry of the trash, in seconds since 1970."""
    return entry.trashed_at + trash_days() * _SECONDS


def list_due(connection: Connection) -> list[Entry]:
    """Return what has been in the trash for its time."""
    now = time.time()
    return [entry for entry in entries(connection) if due(entry) <= now]


def count_nodes(connection: Connection, branch_ids: Collection[str]) -> int:
    """Return how many nodes branches have."""
    query = select(func.count()).select_from(nodes).where(nodes.c.branch_id.in_(list(branch_ids)))
    return int(connection.execute(query).scalar_one())


def _branches_by_order(
    connection: Connection, deleted_runs: set[str]
) -> list[tuple[Run, list[Branch]]]:
    """Return deleted branches of runs that are not deleted, together with those of one order."""
    query = (
        select(branches, run_rows)
        .join(run_rows, run_rows.c.id == branches.c.run_id)
        .where(branches.c.trashed_at.is_not(None))
        .order_by(branches.c.position)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    by_order: dict[tuple[str, float], tuple[Run, list[Branch]]] = {}
    for row in connection.execute(query):
        values = row._mapping
        branch = Branch(**{key.name: values[f"branches_{key.name}"] for key in branches.c})
        if branch.run_id not in deleted_runs:
            run = Run(**{key.name: values[f"runs_{key.name}"] for key in run_rows.c})
            order = by_order.setdefault((run.id, branch.trashed_at or 0.0), (run, []))
            order[1].append(branch)
    return list(by_order.values())


def _node_counts(connection: Connection) -> dict[str, int]:
    """Return the number of nodes of each deleted branch, and of each deleted run, by id."""
    hidden_branches = select(branches.c.id).where(branches.c.trashed_at.is_not(None))
    hidden_runs = select(run_rows.c.id).where(run_rows.c.trashed_at.is_not(None))
    hidden = or_(nodes.c.branch_id.in_(hidden_branches), nodes.c.run_id.in_(hidden_runs))
    query = select(nodes.c.run_id, nodes.c.branch_id, func.count()).where(hidden)
    counts: dict[str, int] = defaultdict(int)
    for run_id, branch_id, count in connection.execute(query.group_by("run_id", "branch_id")):
        counts[run_id] += count
        counts[branch_id] += count
    return counts


def _orders(connection: Connection) -> dict[str, tuple[str, str]]:
    """Return (actor, reason) of the last deletion of each run and branch, by id."""
    query = select(events.c.ref, events.c.actor, events.c.reason).where(
        events.c.kind.in_(("run", "branch")), events.c.state == DELETED
    )
    return {row.ref: (row.actor, row.reason) for row in connection.execute(query.order_by("id"))}


def _entry(
    run: Run,
    members: tuple[Branch, ...],
    counts: Mapping[str, int],
    orders: Mapping[str, tuple[str, str]],
) -> Entry:
    first: Run | Branch = members[0] if members else run
    total = sum(counts[branch.id] for branch in members) if members else counts[run.id]
    return Entry(run, members, total, first.trashed_at or 0.0, *orders.get(first.id, ("", "")))

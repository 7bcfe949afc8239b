"""The conditions that keep what lies in the trash out of every list and search."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, func, select

from branchtrack.db.tables import alerts, branches, nodes, runs

#: Runs and branches that are not in the trash. A run that was purged is in it for ever.
RUNS: ColumnElement[bool] = runs.c.trashed_at.is_(None)
BRANCHES: ColumnElement[bool] = branches.c.trashed_at.is_(None)


def nodes_of(run_id: str) -> ColumnElement[bool]:
    """Return the condition for a run's nodes on branches that are not in the trash."""
    hidden = select(branches.c.id).where(
        branches.c.run_id == run_id, branches.c.trashed_at.is_not(None)
    )
    return and_(nodes.c.run_id == run_id, nodes.c.branch_id.not_in(hidden))


def of_visible_runs(run_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a row is about a run that is not in the trash."""
    return run_id.not_in(select(runs.c.id).where(runs.c.trashed_at.is_not(None)))


def of_visible_branches(branch_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a row is about a branch that is not in the trash itself."""
    return branch_id.not_in(select(branches.c.id).where(branches.c.trashed_at.is_not(None)))


def nodes_of_any() -> ColumnElement[bool]:
    """Return the condition for nodes of which neither run nor branch is in the trash."""
    return and_(of_visible_branches(nodes.c.branch_id), of_visible_runs(nodes.c.run_id))


def branch_count() -> ColumnElement[int]:
    """Return the number of a run's branches, for a query of runs."""
    query = select(func.count()).where(branches.c.run_id == runs.c.id, BRANCHES)
    return query.correlate(runs).scalar_subquery()


def unseen_of_branch() -> ColumnElement[int]:
    """Return the number of a branch's warnings and errors not seen yet, for a query of branches."""
    query = select(func.count()).where(
        alerts.c.branch_id == branches.c.id, alerts.c.seen_at.is_(None), alerts.c.level != "info"
    )
    return query.correlate(branches).scalar_subquery()


def unseen_of_run() -> ColumnElement[int]:
    """Return the number of a run's warnings and errors not seen yet, for a query of runs."""
    query = select(func.count()).where(
        alerts.c.run_id == runs.c.id,
        alerts.c.seen_at.is_(None),
        alerts.c.level != "info",
        of_visible_branches(alerts.c.branch_id),
    )
    return query.correlate(runs).scalar_subquery()


def node_count() -> ColumnElement[int]:
    """Return the number of a run's nodes, for a query of runs."""
    every = select(func.count()).where(nodes.c.run_id == runs.c.id)
    # Few branches are in the trash: nodes of the others are only counted, in the index.
    hidden = (
        select(func.count())
        .select_from(nodes.join(branches, branches.c.id == nodes.c.branch_id))
        .where(branches.c.run_id == runs.c.id, branches.c.trashed_at.is_not(None))
    )
    listed = every.correlate(runs).scalar_subquery() - hidden.correlate(runs).scalar_subquery()
    return listed

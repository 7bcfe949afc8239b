"""Purging: the rows of deleted branches and runs are removed; the events stay, and say so.

The log of a run is one chain, from which nothing can be taken. The event of a purge names every
row that was removed, so that their absence is as the log says.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, or_, select

from branchtrack.core.records import Branch, Run
from branchtrack.db import audit, runs, seals
from branchtrack.db.browsing.tables import metric_pyramids, metric_summaries
from branchtrack.db.orders import groups as group_rows
from branchtrack.db.orders.tables import trials
from branchtrack.db.storage import references, thinning
from branchtrack.db.tables import (
    agents,
    alerts,
    branches,
    certificates,
    exchanges,
    groups,
    launches,
    metric_blocks,
    metric_points,
    metric_series,
    nodes,
    refusals,
    requests,
    segments,
)
from branchtrack.db.tables import runs as run_rows

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
_NAMELESS = "purged-{}"


def logs(connection: Connection, doomed: Sequence[Branch]) -> list[str]:
    """Return the paths of the output of the processes that were launched for branches."""
    query = select(launches.c.log).where(
        launches.c.branch_id.in_([branch.id for branch in doomed]), launches.c.log.is_not(None)
    )
    return list(connection.execute(query).scalars())


def purge_branches(connection: Connection, doomed: Sequence[Branch], actor: str) -> None:
    """Remove branches and all that belongs to them; none that stays may depend on one.

    Tensors that nothing needs any more are freed by the next sweep.
    """
    thinning.lock_store(connection)
    # Children first: a row that another refers to cannot go.
    for branch in sorted(doomed, key=lambda branch: branch.position, reverse=True):
        _purge_branch(connection, branch, actor)
    for group_id in {branch.group_id for branch in doomed if branch.group_id}:
        group_rows.remove_if_empty(connection, group_id)


def purge_run(connection: Connection, run: Run, actor: str) -> None:
    """Remove everything of a run but its events, and free its name."""
    purge_branches(connection, runs.list_branches(connection, run.id), actor)
    _remove(connection, refusals, refusals.c.run_id == run.id)
    _remove(connection, groups, groups.c.run_id == run.id)
    _remove(connection, agents, agents.c.run_id == run.id)
    _remove(connection, trials, trials.c.run_id == run.id)
    values: dict[str, Any] = {
        "name": _NAMELESS.format(run.id),
        "entry_point": None,
        "tags": [],
        "notes": "",
        "command": None,
        "retention": None,
        "purged_at": time.time(),
    }
    connection.execute(run_rows.update().where(run_rows.c.id == run.id).values(**values))
    seals.renew(connection, run_rows, run.id)
    audit.append(
        connection,
        run.id,
        kind="run",
        ref=run.id,
        state=audit.PURGED,
        actor=actor,
        payload={"name": run.name},
    )


def _purge_branch(connection: Connection, branch: Branch, actor: str) -> None:
    own_nodes = select(nodes.c.id).where(nodes.c.branch_id == branch.id)
    digests = set(
        connection.execute(
            select(nodes.c.state_digest).where(nodes.c.branch_id == branch.id)
        ).scalars()
    )
    _forget_nodes(connection, branch, own_nodes, actor)
    # A withdrawn launch has no branch any more, but a node that it was to start from.
    of_launches = or_(launches.c.branch_id == branch.id, launches.c.node_id.in_(own_nodes))
    removed = {
        "requests": _remove(connection, requests, requests.c.branch_id == branch.id),
        "certificates": _remove(connection, certificates, certificates.c.branch_id == branch.id),
        "launches": _remove(connection, launches, of_launches),
        "alerts": _remove(connection, alerts, alerts.c.branch_id == branch.id),
        "exchanges": _remove(connection, exchanges, exchanges.c.branch_id == branch.id),
        "nodes": _remove(connection, nodes, nodes.c.branch_id == branch.id),
    }
    release(connection, digests)
    _remove_metrics(connection, branch)
    _remove(connection, segments, segments.c.branch_id == branch.id)
    _remove(connection, branches, branches.c.id == branch.id)
    audit.append(
        connection,
        branch.run_id,
        kind="branch",
        ref=branch.id,
        state=audit.PURGED,
        actor=actor,
        payload={"branch": branch.name, **removed},
    )


def _forget_nodes(
    connection: Connection, branch: Branch, own_nodes: Select[tuple[str]], actor: str
) -> None:
    """Take a branch's nodes out of requests on other branches, which stay in the record."""
    query = select(requests.c.id, requests.c.state).where(
        requests.c.node_id.in_(own_nodes), requests.c.branch_id != branch.id
    )
    for row in connection.execute(query).all():
        changed = requests.update().where(requests.c.id == row.id).values(node_id=None)
        connection.execute(changed)
        audit.append(
            connection,
            branch.run_id,
            kind="request",
            ref=row.id,
            state=row.state,
            actor=actor,
            payload=seals.renew_for_event(connection, requests, row.id),
            reason=f"Its node on {branch.name} was purged.",
        )


def release(connection: Connection, digests: set[str]) -> None:
    """Need nothing any more of checkpoints that no node has; a sweep removes them."""
    ordered = sorted(digests)
    for first in range(0, len(ordered), _CHUNK):
        chunk = ordered[first : first + _CHUNK]
        in_use = select(nodes.c.state_digest).where(nodes.c.state_digest.in_(chunk))
        released = set(chunk).difference(connection.execute(in_use).scalars())
        thinning.mark(connection, dict.fromkeys(released, references.RECIPE))


def _remove_metrics(connection: Connection, branch: Branch) -> None:
    of_branch = select(segments.c.id).where(segments.c.branch_id == branch.id)
    series = select(metric_series.c.id).where(metric_series.c.segment_id.in_(of_branch))
    for table in (metric_points, metric_blocks, metric_pyramids, metric_summaries):
        connection.execute(table.delete().where(table.c.series_id.in_(series)))
    _remove(connection, metric_series, metric_series.c.segment_id.in_(of_branch))


def _remove(connection: Connection, table: Table, condition: ColumnElement[bool]) -> list[str]:
    """Remove rows with their seals; return the rows' keys."""
    columns = [table.c.id] if "id" in table.c else list(table.primary_key)
    rows = connection.execute(select(*columns).where(condition)).mappings()
    keys = [seals.key_of(table, dict(row)) for row in rows]
    connection.execute(table.delete().where(condition))
    seals.remove(connection, table, keys)
    return keys

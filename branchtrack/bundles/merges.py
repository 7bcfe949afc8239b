"""A bundle into a home: packs first, durable, then all rows in one transaction.

Nothing is visible before that transaction ends, and it ends only if the home then holds the run as
its events say. A process that is killed leaves packs that nothing is read from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import IntegrityError

from branchtrack import trust
from branchtrack.bundles import plans
from branchtrack.bundles.plans import EXTENDED, NEW, WEIGHTS, Plan
from branchtrack.bundles.rows import TABLES
from branchtrack.bundles.source import Bundle
from branchtrack.bundles.tensors import Arrivals
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db import audit, copied_rows, integrity, refusals, seals, tables
from branchtrack.db.browsing import pyramids, summaries
from branchtrack.db.deletion import purging
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.errors import BranchtrackError, StorageError

#: Times that what a sweep took is written again.
_TRIES = 5
#: The tables of a run with keys of their own, in the order in which rows can be inserted.
_KEYED = (
    "groups",
    "branches",
    "segments",
    "nodes",
    "requests",
    "launches",
    "trials",
    "certificates",
    "refusals",
    "alerts",
    "agents",
    "exchanges",
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Merge:
    """What unbundling did, or would do: the plan, bytes of new tensors, and whether trust ended."""

    plan: Plan
    tensor_bytes: int
    needs_trust: bool


class _SweptAway(Exception):
    """A sweep has deleted packs that the rows need."""


def unbundle(
    database: Database,
    store: Store,
    config: Config,
    bundle: Bundle,
    owner: Mapping[str, str],
    *,
    name: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Merge:
    """Merge a bundle that has been checked into a home; ``owner`` is the metadata of new packs.

    A home that was trusted no longer is, unless only tensors are added.

    Raises:
        InvalidInput: the run here has other events, is not at rest, the name is taken, or rows of
            the bundle are not as its events say. Nothing was changed.
        StorageError, ReadOnlyHome: the disk or the database failed, or can only be read.
    """
    database.check_writable()
    with database.read() as connection:
        plan = plans.plan(connection, bundle, name)
    nbytes = sum(entry.nbytes for entry in plan.tensors.values())
    if dry_run or (plan.kind == WEIGHTS and not plan.lacking):
        return Merge(plan, nbytes, plan.ends_trust)
    arrivals = Arrivals(database, store, bundle, owner)
    try:
        plan = _merge(database, config, bundle, arrivals, name, progress)
    except BaseException:
        with suppress(BranchtrackError):
            arrivals.withdraw()
        raise
    arrivals.withdraw()
    return Merge(plan, nbytes, not trust.is_trusted(config))


def _merge(
    database: Database,
    config: Config,
    bundle: Bundle,
    arrivals: Arrivals,
    name: str | None,
    progress: Progress,
) -> Plan:
    for _ in range(_TRIES):
        with database.read() as connection:
            plan = plans.plan(connection, bundle, name)
        arrivals.write(plan.lacking, progress)
        if plan.ends_trust:
            # Before anything is visible that a worker could start, or start it with.
            trust.forget(config)
        with suppress(_SweptAway), database.transaction() as connection:
            thinning.lock_store(connection)
            plan = plans.plan(connection, bundle, name)
            if arrivals.missing(plan.lacking, connection):
                raise _SweptAway
            try:
                _write(connection, bundle, plan, arrivals)
            except IntegrityError as error:
                raise bundle.refused("its rows contradict others that are here") from error
            return plan
    raise StorageError(
        "Sweeps have deleted the new packs again and again.",
        safe="Nothing of the bundle is here.",
        fix="Unbundle it again when no `branchtrack gc` runs.",
    )


def _write(connection: Connection, bundle: Bundle, plan: Plan, arrivals: Arrivals) -> None:
    if plan.kind != NEW:
        audit.lock(connection, bundle.run_id)
    arrivals.record(connection)
    if plan.kind == NEW:
        (run,) = bundle.rows("runs")
        copied_rows.add(connection, tables.runs, {**run, "name": plan.name})
    lacking = {checkpoint.digest for checkpoint in plan.lacking}
    for row in bundle.rows("checkpoints"):
        if row["digest"] in lacking:
            _write_checkpoint(connection, row)
    if plan.kind == WEIGHTS:
        return
    local = {table: _local(connection, bundle, TABLES[table]) for table in _KEYED}
    gone = _remove_gone(connection, bundle, local) if plan.kind == EXTENDED else set()
    for row in bundle.rows("texts"):
        if next(seals.raw(connection, tables.texts, row["digest"]), None) is None:
            copied_rows.add(connection, tables.texts, row)
    _seal_older_refusals(connection)
    for table in _KEYED:
        _write_rows(connection, TABLES[table], bundle, local[table])
    _write_metrics(connection, bundle)
    fresh = (row for row in bundle.rows("events") if row["seq"] > plan.events)
    copied_rows.add_events(connection, bundle.run_id, fresh, plan.events)
    if plan.kind == EXTENDED:
        (run,) = bundle.rows("runs")
        copied_rows.change(connection, tables.runs, {**run, "name": plan.name})
    purging.release(connection, gone)
    problems = integrity.of_run(connection, bundle.run_id)
    if problems:
        raise bundle.refused(f"with it the {problems[0]}")


def _write_checkpoint(connection: Connection, row: Mapping[str, Any]) -> None:
    is_here = next(seals.raw(connection, tables.checkpoints, row["digest"]), None) is not None
    (copied_rows.change if is_here else copied_rows.add)(connection, tables.checkpoints, row)


def _local(connection: Connection, bundle: Bundle, table: Table) -> dict[str, dict[str, Any]]:
    rows = seals.raw(connection, table, bundle.run_id, "run_id")
    return {seals.key_of(table, row): row for row in rows}


def _remove_gone(
    connection: Connection, bundle: Bundle, local: Mapping[str, dict[str, dict[str, Any]]]
) -> set[str]:
    """Delete branches that were withdrawn or purged since; return their nodes' state digests."""
    copied_rows.remove_series(connection, list(local["segments"]))
    # What stays of requests on these nodes is written as the bundle has it.
    requests = tables.requests
    there = {row["id"] for row in bundle.rows("nodes")}
    for row in local["requests"].values():
        if row["node_id"] is not None and row["node_id"] not in there:
            freed = requests.update().where(requests.c.id == row["id"])
            connection.execute(freed.values(node_id=None))
    digests: set[str] = set()
    for name in reversed(_KEYED):
        table = TABLES[name]
        present = {seals.key_of(table, row) for row in bundle.rows(name)}
        gone = [row for key, row in local[name].items() if key not in present]
        for row in sorted(gone, key=lambda row: -int(row.get("seq") or 0)):
            copied_rows.remove(connection, table, row)
            digests.update({row["state_digest"]} if name == "nodes" else ())
    return digests


def _write_rows(
    connection: Connection, table: Table, bundle: Bundle, local: Mapping[str, dict[str, Any]]
) -> None:
    changed: list[dict[str, Any]] = []
    for row in bundle.rows(table.name):
        here = local.get(seals.key_of(table, row))
        if here is not None and not copied_rows.is_equal(here, row):
            changed.append({**here, **row})
    if table is tables.branches:
        # Two branches may have exchanged their names.
        for row in changed:
            copied_rows.change(connection, table, {**row, "name": row["id"]})
    for row in changed:
        copied_rows.change(connection, table, row)
    for row in bundle.rows(table.name):
        if seals.key_of(table, row) not in local:
            copied_rows.add(connection, table, row)


def _write_metrics(connection: Connection, bundle: Bundle) -> None:
    ids = {
        row["id"]: copied_rows.add_series(connection, row) for row in bundle.rows("metric_series")
    }
    for table in (tables.metric_points, tables.metric_blocks):
        copied_rows.add_points(connection, table, ids, bundle.rows(table.name))
    copied_rows.seal_series(connection, ids.values())
    summaries.rebuild(connection, bundle.run_id)
    pyramids.fill_run(connection, bundle.run_id)


def _seal_older_refusals(connection: Connection) -> None:
    """Seal the counters of an earlier version, as the first sealed one does."""
    if not seals.all_stored(connection, tables.refusals):
        refusals.seal_all(connection)

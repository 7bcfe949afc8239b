"""The list of runs at a glance: counts, and what trains; numpy is not loaded for it.

Pages, shell and API read the same list; each statement is for any number of runs. It only reads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    null,
    or_,
    select,
)

from branchtrack.core.records import Run, Segment
from branchtrack.db import segments as segment_rows
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import (
    branches,
    launches,
    nodes,
    runs,
    segments,
)

_OPEN = ("queued", "starting", "running")
#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000


@dataclass(frozen=True)
class RunSummary:
    """A run, its numbers of branches and nodes, and how many runs the search found in all.

    ``unseen`` is the number of its warnings and errors that nobody has seen.
    """

    run: Run
    branches: int
    nodes: int
    total: int
    unseen: int = 0


@dataclass(frozen=True)
class NamedRun:
    """A run by id and name, and how many branches it has."""

    id: str
    name: str
    branches: int


@dataclass(frozen=True)
class RunCounts:
    """How many nodes a run has, and how many warnings and errors that nobody has seen."""

    nodes: int
    unseen: int


@dataclass(frozen=True)
class RunDetails:
    """What the table of runs shows of one beyond what is known of all.

    ``starts`` has for each segment the (segment, step) at which it starts, ``settings`` those that
    were asked for.
    """

    counts: RunCounts
    starts: dict[str, tuple[str, int] | None]
    settings: dict[str, dict[str, Any]]


def find_runs(
    connection: Connection,
    search: str = "",
    *,
    limit: int | None = None,
    offset: int = 0,
    archived: bool = True,
) -> list[RunSummary]:
    """Return runs whose name, notes or tags contain ``search``, pinned ones first.

    They are in the order of their changes, the latest first.

    Those that are archived are among them if ``archived``.
    """
    query = _summaries()
    if not archived:
        query = query.where(runs.c.archived_at.is_(None))
    if search:
        columns = (runs.c.name, runs.c.notes, cast(runs.c.tags, Text))
        query = query.where(or_(*(column.icontains(search, autoescape=True) for column in columns)))
    is_other = runs.c.pinned_at.is_(None)
    query = query.order_by(is_other, runs.c.updated_at.desc(), runs.c.id)
    query = query.limit(limit).offset(offset)
    return [_summary(row) for row in connection.execute(query)]


def created_runs(
    connection: Connection, limit: int, after: tuple[float, str] | None = None
) -> list[RunSummary]:
    """Return the latest created runs first, starting with those created before ``after``.

    ``after`` is (created_at, id) of the last one seen: unlike the order of changes this one does
    not change while a reader pages through it.
    """
    query = _summaries().order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    if after is not None:
        created_at, run_id = after
        same = and_(runs.c.created_at == created_at, runs.c.id < run_id)
        query = query.where(or_(runs.c.created_at < created_at, same))
    return [_summary(row) for row in connection.execute(query)]


def named(connection: Connection, ids: Sequence[str]) -> list[NamedRun]:
    """Return the runs with these ids that are not in the trash, by name."""
    columns = (runs.c.id, runs.c.name, visibility.branch_count().label("branches"))
    query = select(*columns).where(visibility.RUNS, runs.c.id.in_(ids)).order_by(runs.c.name)
    return [NamedRun(*row) for row in connection.execute(query)]


def counts(connection: Connection, run_ids: Sequence[str]) -> dict[str, RunCounts]:
    """Return what there is of each run: its nodes, and warnings that nobody has seen."""
    counted: dict[str, RunCounts] = {}
    numbers = (visibility.node_count().label("nodes"), visibility.unseen_of_run().label("unseen"))
    for first in range(0, len(run_ids), _CHUNK):
        query = select(runs.c.id, *numbers).where(runs.c.id.in_(run_ids[first : first + _CHUNK]))
        for row in connection.execute(query):
            counted[row.id] = RunCounts(row.nodes, row.unseen)
    return counted


def current_segments(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[Segment]]:
    """Return the current segments of each run's branches, in the order of the branches."""
    current: dict[str, list[Segment]] = {}
    for first in range(0, len(run_ids), _CHUNK):
        query = (
            select(segments)
            .join(branches, branches.c.segment_id == segments.c.id)
            .where(branches.c.run_id.in_(run_ids[first : first + _CHUNK]), visibility.BRANCHES)
            .order_by(branches.c.position)
        )
        for row in connection.execute(query):
            current.setdefault(row.run_id, []).append(segment_rows.record(row._mapping))
    return current


def launches_with_jobs(
    connection: Connection, current: Collection[Segment]
) -> dict[str, tuple[str, str]]:
    """Return (state of the launch, its job in a cluster) of the segments that wait with a job."""
    ids = [segment.id for segment in current if segment.status == "waiting"]
    known: dict[str, tuple[str, str]] = {}
    for first in range(0, len(ids), _CHUNK):
        query = (
            select(launches.c.segment_id, launches.c.state, launches.c.job)
            .where(launches.c.state.in_(_OPEN), launches.c.job.is_not(None))
            .where(launches.c.segment_id.in_(ids[first : first + _CHUNK]))
        )
        known |= {row.segment_id: (row.state, row.job) for row in connection.execute(query)}
    return known


def details(
    connection: Connection, run_ids: Sequence[str], *, with_settings: bool
) -> dict[str, RunDetails]:
    """Return the details of runs on a page, in one statement."""
    # A limit keeps SQLite from counting anew for each segment.
    numbers = (visibility.node_count().label("nodes"), visibility.unseen_of_run().label("unseen"))
    counted = select(runs.c.id, *numbers).where(runs.c.id.in_(run_ids)).limit(len(run_ids))
    run = counted.subquery()
    query = select(
        run,
        segments.c.id.label("segment_id"),
        nodes.c.segment_id.label("start_segment"),
        nodes.c.step.label("start_step"),
        segments.c.settings if with_settings else null().label("settings"),
    ).select_from(
        run.outerjoin(segments, segments.c.run_id == run.c.id).outerjoin(
            nodes, nodes.c.id == segments.c.start_node_id
        )
    )
    found: dict[str, RunDetails] = {}
    for row in connection.execute(query):
        if row.id not in found:
            found[row.id] = RunDetails(RunCounts(row.nodes, row.unseen), {}, {})
        if row.segment_id is not None:
            has_start = row.start_segment is not None
            start = (row.start_segment, row.start_step) if has_start else None
            found[row.id].starts[row.segment_id] = start
            found[row.id].settings[row.segment_id] = row.settings or {}
    return found


def _summaries() -> Select[Any]:
    counts = (
        visibility.branch_count().label("branch_count"),
        visibility.node_count().label("node_count"),
        visibility.unseen_of_run().label("unseen"),
    )
    return select(runs, *counts, func.count().over().label("total")).where(visibility.RUNS)


def _summary(row: Row[Any]) -> RunSummary:
    run = Run(**{column.name: row._mapping[column.name] for column in runs.c})
    return RunSummary(run, row.branch_count, row.node_count, row.total, row.unseen)

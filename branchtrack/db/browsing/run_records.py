"""What lists know of each run, read in one statement for any number of runs.

It only reads. Of segments no long column is read, but the settings where they are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    null,
    select,
)

from branchtrack.core import lifecycle
from branchtrack.core.launchers import jobs
from branchtrack.core.records import Segment
from branchtrack.db import segments as segment_rows
from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.tables import branches, launches, runs, segments

#: Seconds without a heartbeat after which a process is taken for one that never comes back.
FORGOTTEN_AFTER = 60.0
_OPEN = (*sorted(lifecycle.LIVE), "waiting")
#: Of a segment, what takes long to read and does not tell its status.
_BULK: dict[str, Any] = {"declared": [], "settings": {}, "script": None, "offers": {}}
_BULK |= {"error": None, "saves": None, "environment": None, "code": None}


@dataclass(slots=True)
class SegmentRecord:
    """A segment: ``status`` as it is shown, ``is_fresh`` if its process was alive lately.

    ``shown_status`` is finer where the job of a cluster carries out its launch.
    """

    id: str
    position: int
    status: str
    step: int
    max_steps: int | None
    rate: float | None
    is_open: bool
    is_fresh: bool
    shown_status: str


@dataclass(slots=True)
class BranchRecord:
    """A branch that is not in the trash, with its segments in their order."""

    id: str
    name: str
    position: int
    tags: list[str]
    segment_id: str | None
    segments: list[SegmentRecord] = field(default_factory=list)

    @property
    def current(self) -> SegmentRecord | None:
        """Return the segment that the branch goes on in."""
        return next((s for s in self.segments if s.id == self.segment_id), None)

    @property
    def trained(self) -> SegmentRecord | None:
        """Return the newest segment that a process has trained."""
        return next((s for s in reversed(self.segments) if s.status != "waiting"), None)


@dataclass(slots=True)
class RunRecord:
    """A run with its branches; ``text`` is what words are searched in.

    ``leader`` is the branch that stands for its settings, ``leading`` the segment that has them.
    ``is_fresh``: a process trains it, so that it changes without events.
    """

    id: str
    name: str
    default_branch: str
    tags: list[str]
    notes: str
    text: str
    created_at: float
    updated_at: float
    archived: bool
    trashed: bool
    pinned_at: float | None
    branches: list[BranchRecord] = field(default_factory=list)
    branch_count: int = 0
    segment_count: int = 0
    status: str = "empty"
    step: int | None = None
    is_open: bool = False
    is_fresh: bool = False
    leader: BranchRecord | None = None
    leading: str | None = None

    def lead(self, branch: BranchRecord | None = None) -> None:
        """Have a branch stand for the run; without one its default branch, or else the first."""
        first = self.branches[0] if self.branches else None
        default = (other for other in self.branches if other.name == self.default_branch)
        self.leader = branch or next(default, first)
        trained = self.leader.trained if self.leader else None
        self.leading = trained.id if trained else None

    @property
    def shown_status(self) -> str:
        """Return the status as `jobs.shown_state` has it, which pages and lists show."""
        segment = self.shown_branch.current if self.shown_branch else None
        is_finer = segment is not None and segment.status == self.status
        return segment.shown_status if segment is not None and is_finer else self.status

    @property
    def shown_branch(self) -> BranchRecord | None:
        """Return the first branch in the run's own state, else the first one."""
        current = [branch for branch in self.branches if branch.current is not None]
        fitting = (b for b in current if b.current and b.current.status == self.status)
        return next(fitting, current[0] if current else None)


@dataclass(frozen=True)
class Extremes:
    """A segment's row of `metric_summaries`: the metric, and its values."""

    name: str
    segment_id: str
    minimum: float | None
    maximum: float | None
    last_step: int
    last: float | None


@dataclass(frozen=True)
class Reading:
    """Runs, the summaries of metrics that were asked for, and settings by segment."""

    runs: dict[str, RunRecord]
    extremes: list[Extremes]
    settings: dict[str, dict[str, Any]]


def read(
    connection: Connection,
    which: ColumnElement[bool] | None,
    now: float,
    *,
    metrics: Sequence[str] = (),
    with_settings: bool = False,
) -> Reading:
    """Return the runs that fit, those in the trash included, by id; all of them without ``which``.

    ``metrics`` are those whose summaries are read, too.
    """
    statement = select(*_columns(bool(metrics), with_settings)).select_from(_joined(metrics))
    rows = connection.execute(statement if which is None else statement.where(which)).all()
    reading = Reading({}, [], {})
    known_branches: dict[str, BranchRecord] = {}
    known_segments: set[str] = set()
    for row in rows:
        run = reading.runs.get(row[0])
        if run is None:
            run = reading.runs[row[0]] = _run(row)
        if row.branch_id is not None and row.branch_id not in known_branches:
            run.branch_count += 1
            branch = known_branches[row.branch_id] = _branch(row)
            if row.branch_trashed_at is None:
                run.branches.append(branch)
        if row.segment_id is not None and row.segment_id not in known_segments:
            run.segment_count += 1
            known_segments.add(row.segment_id)
            known_branches[row.branch_id].segments.append(_segment(row, now))
            if with_settings and row.settings:
                reading.settings[row.segment_id] = row.settings
        if metrics and row.metric is not None:
            facts = (row.minimum, row.maximum, row.last_step, row.last)
            reading.extremes.append(Extremes(row.metric, row.segment_id, *facts))
    for run in reading.runs.values():
        _finish(run)
    return reading


def settings_of(
    connection: Connection, segment_ids: Sequence[str] | None
) -> dict[str, dict[str, Any]]:
    """Return the settings of some segments, or of all."""
    query = select(segments.c.id, segments.c.settings)
    if segment_ids is not None:
        query = query.where(segments.c.id.in_(segment_ids))
    return {row.id: row.settings for row in connection.execute(query)}


def _joined(metrics: Sequence[str]) -> Any:
    joined = runs.outerjoin(branches, branches.c.run_id == runs.c.id)
    joined = joined.outerjoin(segments, segments.c.branch_id == branches.c.id)
    if not metrics:
        return joined
    of_segment = and_(
        metric_summaries.c.name.in_(metrics),
        metric_summaries.c.run_id == runs.c.id,
        metric_summaries.c.segment_id == segments.c.id,
    )
    return joined.outerjoin(metric_summaries, of_segment)


def _columns(with_metrics: bool, with_settings: bool) -> Iterable[Any]:
    is_open = segments.c.status.in_(_OPEN)
    yield from (
        runs.c[name]
        for name in (
            "id name default_branch tags notes created_at updated_at archived_at trashed_at"
            " pinned_at"
        ).split()
    )
    for name in "id name position tags segment_id trashed_at".split():
        yield branches.c[name].label(f"branch_{name}")
    yield from (
        segments.c.id.label("segment_id"),
        segments.c.position.label("segment_position"),
        *(segments.c[name] for name in "status step max_steps rate pid host".split()),
    )
    # These lie behind the long columns, which need not be read for what has ended.
    for name in "process started_at heartbeat_at ended_at".split():
        yield case((is_open, segments.c[name])).label(name)
    # Read of those alone that wait.
    job = (
        select(launches.c.state)
        .where(
            launches.c.branch_id == branches.c.id,
            launches.c.segment_id == segments.c.id,
            launches.c.job.is_not(None),
        )
        .order_by(launches.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    yield case((segments.c.status == "waiting", job)).label("job_launch")
    yield segments.c.settings if with_settings else null().label("settings")
    if with_metrics:
        yield metric_summaries.c.name.label("metric")
        yield from (metric_summaries.c[name] for name in "minimum maximum last_step last".split())


def _run(row: Row[Any]) -> RunRecord:
    return RunRecord(
        id=row.id,
        name=row.name,
        default_branch=row.default_branch,
        tags=row.tags,
        notes=row.notes,
        text="\n".join((row.name, row.notes, *row.tags)).lower(),
        created_at=row.created_at,
        updated_at=row.updated_at,
        archived=row.archived_at is not None,
        trashed=row.trashed_at is not None,
        pinned_at=row.pinned_at,
    )


def _branch(row: Row[Any]) -> BranchRecord:
    return BranchRecord(
        row.branch_id,
        row.branch_name,
        row.branch_position,
        row.branch_tags or [],
        row.branch_segment_id,
    )


def _segment(row: Row[Any], now: float) -> SegmentRecord:
    is_open = row.status in _OPEN
    status, is_fresh = row.status, False
    if is_open:
        status = lifecycle.segment_status(_full(row), now)
        last = row.heartbeat_at or row.started_at
        is_fresh = last is not None and now - last <= FORGOTTEN_AFTER
    return SegmentRecord(
        row.segment_id,
        row.segment_position,
        lifecycle.shown(status),
        row.step,
        row.max_steps,
        row.rate,
        is_open,
        is_fresh,
        jobs.shown_state(status, row.job_launch, row.job_launch),
    )


def _full(row: Row[Any]) -> Segment:
    names = "status pid host step max_steps rate process started_at heartbeat_at ended_at".split()
    facts = {name: getattr(row, name) for name in names}
    return segment_rows.record(
        {
            "id": row.segment_id,
            "run_id": row.id,
            "branch_id": row.branch_id,
            "position": row.segment_position,
            "start_node_id": None,
            **facts,
            **_BULK,
        }
    )


def _finish(run: RunRecord) -> None:
    """Order what a run has, and say in which state it is."""
    run.branches.sort(key=lambda branch: branch.position)
    for branch in run.branches:
        branch.segments.sort(key=lambda segment: segment.position)
    current = [segment for branch in run.branches if (segment := branch.current) is not None]
    run.status = lifecycle.run_status(segment.status for segment in current)
    run.step = max((segment.step for segment in current), default=None)
    run.is_open = any(segment.is_open for segment in current)
    run.is_fresh = any(segment.is_fresh for segment in current)
    run.lead()

"""Much of a tree in few statements, for pages that show all of it at once.

Only reads. It must not know what a page looks like; the subjects' own modules hold the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    Connection,
    Row,
    and_,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.sql.selectable import NamedFromClause

from branchtrack.core import lifecycle, saves
from branchtrack.core.launchers import jobs
from branchtrack.core.records import (
    Branch,
    Certificate,
    Change,
    Event,
    Launch,
    Node,
    Run,
    Segment,
)
from branchtrack.core.trials.records import GROUP
from branchtrack.db import audit
from branchtrack.db import nodes as node_rows
from branchtrack.db import segments as segments_of
from branchtrack.db.certificates import newest_of_branch
from branchtrack.db.deletion import visibility
from branchtrack.db.orders.tables import trials
from branchtrack.db.runs import find_run
from branchtrack.db.tables import (
    branches,
    certificates,
    events,
    groups,
    launches,
    nodes,
    runs,
    segments,
)

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
_troubles = events.alias("troubles")
_origins = nodes.alias("origins")
_run_launches = launches.alias("run_launches")
#: Columns of a segment that are of interest while it is trained.
_BULK = ("declared", "settings", "script", "offers", "environment", "code")
#: States in which a branch is told with the launch that began it.
_LAUNCHED = ("waiting", "failed")


@dataclass(frozen=True)
class Origin:
    """Where a segment begins: a node's branch, segment and step."""

    branch_id: str
    segment_id: str
    step: int


@dataclass(frozen=True)
class TreeSummary:
    """A run with its branches in order of creation and every segment; ``cursor`` as audit.last_id.

    ``troubles`` is what each segment could not record at its last sign of life: its process records
    an event of kind ``trouble`` as soon as it can, ``begun`` with the reason, and ``over``.
    ``certificates`` has the newest one of each branch, ``groups`` the names of groups by id,
    ``unseen`` how many warnings and errors of each branch nobody has seen, ``origins`` where
    each segment begins that is not a root's, and ``launches`` the newest one of each branch that
    waits or failed. ``has_refused``: the run's newest launch failed. ``trial_groups`` are the ids
    of groups that are a trial's branches; ``has_trials``: the run has any, also without branches.
    """

    run: Run
    branches: tuple[Branch, ...]
    segments: Mapping[str, Segment]
    cursor: int
    troubles: Mapping[str, Event]
    certificates: Mapping[str, Certificate]
    groups: Mapping[str, str]
    unseen: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    launches: Mapping[str, Launch] = field(default_factory=dict)
    has_refused: bool = False
    trial_groups: frozenset[str] = frozenset()
    has_trials: bool = False

    def status(self, branch: Branch, now: float) -> str:
        """Return the status of a branch at the time ``now``, see `lifecycle.segment_status`."""
        segment = self.segments.get(branch.segment_id or "")
        return "empty" if segment is None else lifecycle.segment_status(segment, now)

    def shown_status(self, branch: Branch, now: float) -> str:
        """Return the status as `jobs.shown_state` has it, by the newest launch of a branch."""
        launch, status = self.launches.get(branch.id), self.status(branch, now)
        return jobs.shown_state(status, launch.state, launch.job) if launch else status

    def saves(self, branch: Branch) -> dict[str, Any] | None:
        """Return the counts of saves over all processes that trained a branch."""
        return saves.summed(self._saves.get(branch.id, ()))

    @cached_property
    def _saves(self) -> Mapping[str, Sequence[Mapping[str, Any] | None]]:
        by_branch: dict[str, list[Mapping[str, Any] | None]] = {}
        for segment in self.segments.values():
            by_branch.setdefault(segment.branch_id, []).append(segment.saves)
        return by_branch


@dataclass(frozen=True)
class NodeSummary:
    """A node without the bulk: what a line of a log shows, and the bytes of its checkpoint."""

    seq: int
    id: str
    run_id: str
    branch_id: str
    segment_id: str
    parent_id: str | None
    step: int
    epoch: float
    kind: str
    changes: tuple[Change, ...]
    metrics: dict[str, Any]
    message: str
    actor: str
    effective: dict[str, Any] | None
    compared: dict[str, Any] | None
    state_digest: str
    created_at: float
    stored_bytes: int
    logical_bytes: int
    merge_parent_id: str | None = None


@dataclass(frozen=True)
class NodeMark:
    """A node as a point on a line: its position, and what it changed."""

    seq: int
    id: str
    branch_id: str
    parent_id: str | None
    step: int
    kind: str
    changes: tuple[Change, ...]
    message: str
    actor: str


_MARK: tuple[Any, ...] = tuple(nodes.c[name] for name in NodeMark.__annotations__)


def trees(
    connection: Connection, refs: Iterable[str], *, brief: bool = False
) -> dict[str, TreeSummary]:
    """Return the runs of those names or ids (or unique prefixes), by the reference passed.

    ``brief``: segments that have ended come without what they declared, offered and ran on.

    Raises:
        NotFound, Ambiguous: a reference fits no run, or several.
    """
    unique_refs = list(dict.fromkeys(refs))
    outlines = _read_trees(connection, unique_refs, brief)
    by_ref = {key: tree for tree in outlines for key in (tree.run.id, tree.run.name)}
    for ref in unique_refs:
        if ref not in by_ref:
            by_ref[ref] = _read_trees(connection, [find_run(connection, ref).id], brief)[0]
    return {ref: by_ref[ref] for ref in unique_refs}


def ancestors(connection: Connection, node_id: str) -> list[NodeMark]:
    """Return a node and all above it, nearest first, in one statement."""
    above = (
        select(nodes.c.id, nodes.c.parent_id, literal(0).label("depth"))
        .where(nodes.c.id == node_id)
        .cte("above", recursive=True)
    )
    parents = select(nodes.c.id, nodes.c.parent_id, above.c.depth + 1).join(
        above, nodes.c.id == above.c.parent_id
    )
    above = above.union_all(parents)
    query = select(*_MARK).join(above, above.c.id == nodes.c.id).order_by(above.c.depth)
    return [_mark(row) for row in connection.execute(query)]


def branches_of(connection: Connection, run_ids: Iterable[str]) -> dict[str, tuple[str, Branch]]:
    """Return (name of the run, branch) of every branch of the runs, by the branch's id."""
    query = (
        select(runs.c.name.label("run_name"), branches)
        .join(runs, runs.c.id == branches.c.run_id)
        .where(branches.c.run_id.in_(list(run_ids)), visibility.BRANCHES)
        .order_by(branches.c.position)
    )
    return {
        row.id: (row.run_name, Branch(**{key.name: row._mapping[key.name] for key in branches.c}))
        for row in connection.execute(query)
    }


def nodes_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Node]:
    """Return the nodes with exactly those ids, by id."""
    unique_ids = list(dict.fromkeys(ids))
    by_id: dict[str, Node] = {}
    for first in range(0, len(unique_ids), _CHUNK):
        query = select(nodes).where(nodes.c.id.in_(unique_ids[first : first + _CHUNK]))
        by_id |= {row.id: node_rows.record(row) for row in connection.execute(query)}
    return by_id


def _read_trees(connection: Connection, refs: Sequence[str], brief: bool) -> list[TreeSummary]:
    newest = (
        select(events.c.id)
        .where(events.c.run_id == runs.c.id)
        .order_by(events.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    newest_launch = (
        select(_run_launches.c.state)
        .where(_run_launches.c.run_id == runs.c.id)
        .order_by(_run_launches.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    last_launch = select(func.max(_run_launches.c.seq)).where(
        _run_launches.c.branch_id == branches.c.id
    )
    condition = and_(or_(runs.c.name.in_(refs), runs.c.id.in_(refs)), visibility.RUNS)
    last_troubles = audit.last_troubles(select(runs.c.id).where(condition)).subquery()
    query = (
        select(
            runs,
            branches,
            *_segment_columns(brief),
            certificates,
            _troubles,
            launches,
            newest.label("cursor"),
            newest_launch.label("newest_launch"),
            groups.c.name.label("group_name"),
            groups.c.kind.label("group_kind"),
            select(trials.c.id).where(trials.c.run_id == runs.c.id).exists().label("has_trials"),
            _origins.c.branch_id.label("origin_branch"),
            _origins.c.segment_id.label("origin_segment"),
            _origins.c.step.label("origin_step"),
            visibility.unseen_of_branch().label("unseen"),
        )
        .outerjoin(branches, and_(branches.c.run_id == runs.c.id, visibility.BRANCHES))
        .outerjoin(groups, groups.c.id == branches.c.group_id)
        .outerjoin(segments, segments.c.branch_id == branches.c.id)
        .outerjoin(
            launches,
            and_(
                segments.c.status.in_(_LAUNCHED),
                launches.c.seq == last_launch.correlate(branches).scalar_subquery(),
            ),
        )
        .outerjoin(_origins, _origins.c.id == segments.c.start_node_id)
        .outerjoin(certificates, certificates.c.id == newest_of_branch().scalar_subquery())
        .outerjoin(last_troubles, last_troubles.c.ref == segments.c.id)
        .outerjoin(_troubles, _troubles.c.id == last_troubles.c.id)
        .where(condition)
        .order_by(runs.c.id, branches.c.position, segments.c.position)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    grouped: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(query):
        grouped.setdefault(row.runs_id, []).append(row)
    return [_summary(rows) for rows in grouped.values()]


def _summary(rows: Sequence[Row[Any]]) -> TreeSummary:
    branches_by_id = {
        row.branches_id: Branch(**_part(row, branches))
        for row in rows
        if row.branches_id is not None
    }
    of_run = {
        row.segments_id: segments_of.record(_part(row, segments))
        for row in rows
        if row.segments_id is not None
    }
    run = Run(**_part(rows[0], runs))
    troubles = {
        row.troubles_ref: Event(**_part(row, _troubles))
        for row in rows
        if row.troubles_state == "begun"
    }
    certified = {
        row.certificates_branch_id: Certificate(**_part(row, certificates))
        for row in rows
        if row.certificates_id is not None
    }
    return TreeSummary(
        run,
        tuple(branches_by_id.values()),
        of_run,
        rows[0].cursor or 0,
        troubles,
        certified,
        {row.branches_group_id: row.group_name for row in rows if row.group_name is not None},
        {row.branches_id: row.unseen for row in rows if row.unseen},
        {
            row.segments_id: Origin(row.origin_branch, row.origin_segment, row.origin_step)
            for row in rows
            if row.origin_step is not None
        },
        {
            row.launches_branch_id: Launch(**_part(row, launches))
            for row in rows
            if row.launches_id is not None and row.branches_segment_id == row.segments_id
        },
        rows[0].newest_launch == "failed",
        frozenset(row.branches_group_id for row in rows if row.group_kind == GROUP),
        bool(rows[0].has_trials),
    )


def _segment_columns(brief: bool) -> list[Any]:
    if not brief:
        return list(segments.c)
    return [
        case((segments.c.ended_at.is_(None), column)).label(f"segments_{column.name}")
        if column.name in _BULK
        else column
        for column in segments.c
    ]


def _part(row: Row[Any], table: NamedFromClause) -> dict[str, Any]:
    """Return the columns of a table in a row that joins several."""
    names, first = _columns(row._fields, table)
    return dict(zip(names, row[first : first + len(names)], strict=True))


@cache
def _columns(fields: tuple[str, ...], table: NamedFromClause) -> tuple[list[str], int]:
    """Return the names of a table's columns, and where they begin among the fields of a row."""
    names = [column.name for column in table.c]
    return names, fields.index(f"{table.name}_{names[0]}")


def _mark(row: Any) -> NodeMark:
    values = dict(row._mapping)
    values["changes"] = tuple(Change(**change) for change in values["changes"])
    return NodeMark(**values)

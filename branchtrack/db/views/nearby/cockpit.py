"""One branch as it is now, in few statements: its process, its launch, its newest values.

Only reads, and of the run nothing but this branch. It must not know what a page looks like.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    CompoundSelect,
    Connection,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import NamedFromClause

from branchtrack.core.records import Branch, Change, Launch, Run, Segment
from branchtrack.db import runs as run_rows
from branchtrack.db import segments as segment_rows
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import (
    branches,
    checkpoints,
    events,
    launches,
    metric_blocks,
    metric_points,
    metric_series,
    nodes,
    runs,
    segments,
)
from branchtrack.db.views.tree_outline import NodeSummary

_starts = nodes.alias("starts")


@dataclass(frozen=True)
class BranchNow:
    """A branch with its run, its newest segment, and the launch that this segment is of, if any.

    ``start_step`` is the step of the node that the segment began at; ``used`` is what the newest
    read-back update used, as `db.nodes.last_effective`; ``cursor`` as audit.last_id.
    """

    run: Run
    branch: Branch
    segment: Segment | None
    launch: Launch | None
    head: NodeSummary | None
    start_step: int | None
    used: dict[str, Any]
    cursor: int


@dataclass(frozen=True)
class Choice:
    """A node to choose from a list: what tells it from the others."""

    id: str
    branch: str
    step: int
    kind: str


def read(connection: Connection, run: str, branch: str) -> BranchNow:
    """Return a branch as it is now, by the names or ids of its run and itself, in one statement.

    Raises:
        NotFound: no such run or branch. Ambiguous: a prefix of an id fits several.
    """
    row = connection.execute(_query(), {"run": run, "branch": branch}).first()
    if row is None:
        record = run_rows.find_branch(connection, f"{run}/{branch}")
        row = connection.execute(_query(), {"run": record.run_id, "branch": record.name}).one()
    segment, launch = _part(row, segments), _part(row, launches)
    return BranchNow(
        run=Run(**_part(row, runs)),
        branch=Branch(**_part(row, branches)),
        segment=None if segment["id"] is None else segment_rows.record(segment),
        launch=None if launch["id"] is None else Launch(**launch),
        head=_head(row),
        start_step=row.starts_step,
        used=row.used or {},
        cursor=row.cursor or 0,
    )


def newest_nodes(
    connection: Connection, run_id: str, limit: int, also: str = ""
) -> tuple[list[Choice], bool]:
    """Return a run's newest nodes, newest first, and whether there are more.

    The node ``also`` is among them, at the end if it is older.
    """
    query = (
        select(nodes.c.id, branches.c.name.label("branch"), nodes.c.step, nodes.c.kind)
        .join(branches, branches.c.id == nodes.c.branch_id)
        .where(nodes.c.run_id == run_id, visibility.BRANCHES)
    )
    newest = connection.execute(query.order_by(nodes.c.seq.desc()).limit(limit + 1)).all()
    choices = [Choice(**row._mapping) for row in newest]
    listed = choices[:limit]
    if also and also not in {choice.id for choice in listed}:
        row = connection.execute(query.where(nodes.c.id == also)).first()
        listed += [] if row is None else [Choice(**row._mapping)]
    return listed, len(choices) > limit


def newest_values(
    connection: Connection, segment_id: str, names: Collection[str]
) -> dict[str, tuple[int, float]]:
    """Return the step and value of the newest point of some of a segment's series, by name.

    One statement; what is no number is left out.
    """
    newest: dict[str, tuple[int, float]] = {}
    parameters = {"segment": segment_id, "names": list(names)}
    for row in connection.execute(_values_query(), parameters):
        if row.value is not None and row.step >= newest.get(row.name, (row.step, 0.0))[0]:
            newest[row.name] = (row.step, row.value)
    return newest


@cache
def _values_query() -> CompoundSelect[Any]:
    """Return the query of `newest_values`, made once."""
    chosen = and_(
        metric_series.c.segment_id == bindparam("segment"),
        metric_series.c.name.in_(bindparam("names", expanding=True)),
    )
    points, blocks = metric_points.alias("newest"), metric_blocks.alias("newest_block")
    last_point = select(func.max(points.c.step)).where(points.c.series_id == metric_series.c.id)
    last_block = select(func.max(blocks.c.first_step)).where(
        blocks.c.series_id == metric_series.c.id
    )
    in_tail = (
        select(metric_series.c.name, metric_points.c.step, metric_points.c.value)
        .join(metric_points, metric_points.c.series_id == metric_series.c.id)
        .where(
            chosen, metric_points.c.step == last_point.correlate(metric_series).scalar_subquery()
        )
    )
    in_blocks = (
        select(
            metric_series.c.name,
            metric_blocks.c.last_step.label("step"),
            metric_blocks.c.last.label("value"),
        )
        .join(metric_blocks, metric_blocks.c.series_id == metric_series.c.id)
        .where(
            chosen,
            metric_blocks.c.first_step == last_block.correlate(metric_series).scalar_subquery(),
        )
    )
    return union_all(in_tail, in_blocks)


@cache
def _query() -> Select[Any]:
    """Return the query of `read`: made once, as making it takes longer than the answer."""
    cursor = (
        select(events.c.id)
        .where(events.c.run_id == runs.c.id)
        .order_by(events.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    read_back = nodes.alias("read_back")
    used = (
        select(read_back.c.effective)
        # A missing value is the JSON null.
        .where(read_back.c.branch_id == branches.c.id, cast(read_back.c.effective, Text) != "null")
        .order_by(read_back.c.seq.desc())
        .limit(1)
        .correlate(branches)
        .scalar_subquery()
    )
    launched = (
        select(func.max(launches.c.seq))
        .where(
            launches.c.branch_id == branches.c.id, launches.c.segment_id == branches.c.segment_id
        )
        .correlate(branches)
        .scalar_subquery()
    )
    return (
        select(
            runs,
            branches,
            segments,
            launches,
            nodes,
            checkpoints.c.stored_bytes,
            checkpoints.c.logical_bytes,
            _starts.c.step.label("starts_step"),
            used.label("used"),
            cursor.label("cursor"),
        )
        .join(branches, branches.c.run_id == runs.c.id)
        .outerjoin(segments, segments.c.id == branches.c.segment_id)
        .outerjoin(launches, launches.c.seq == launched)
        .outerjoin(nodes, nodes.c.id == branches.c.head_id)
        .outerjoin(checkpoints, checkpoints.c.digest == nodes.c.state_digest)
        .outerjoin(_starts, _starts.c.id == segments.c.start_node_id)
        .where(
            or_(runs.c.name == bindparam("run"), runs.c.id == bindparam("run")),
            branches.c.name == bindparam("branch"),
            visibility.RUNS,
            visibility.BRANCHES,
        )
        .limit(1)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )


def _head(row: Row[Any]) -> NodeSummary | None:
    values = _part(row, nodes)
    if values["id"] is None:
        return None
    values |= {
        "stored_bytes": row.checkpoints_stored_bytes,
        "logical_bytes": row.checkpoints_logical_bytes,
        "changes": tuple(Change(**change) for change in values["changes"]),
        "metrics": values["metrics"] or {},
    }
    return NodeSummary(**{name: values[name] for name in NodeSummary.__annotations__})


def _part(row: Row[Any], table: NamedFromClause) -> dict[str, Any]:
    return {column.name: row._mapping[f"{table.name}_{column.name}"] for column in table.c}

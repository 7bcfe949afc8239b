"""Where a node stands: its branch among those of its run, its neighbours, and the way to the root.

Only reads: one row for each branch, and of the nodes only those that stand around this one. It must
not know what a page looks like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import NamedFromClause

from branchtrack.core import lifecycle
from branchtrack.core.records import Branch, Certificate, Change, Node, Run, Segment
from branchtrack.core.trials.records import GROUP
from branchtrack.db import segments as segment_rows
from branchtrack.db.certificates import newest_of_branch
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import (
    branches,
    certificates,
    checkpoints,
    groups,
    nodes,
    runs,
    segments,
)
from branchtrack.db.views import tree_log
from branchtrack.db.views.tree_outline import NodeSummary

#: Columns that are read of a parent only.
_BULK = ("metrics", "effective", "compared")


@dataclass(frozen=True)
class BranchName:
    """A branch of the run: what a list of branches shows, and its newest segment.

    ``is_tried``: it is a training of a trial.
    """

    id: str
    name: str
    position: int
    segment_id: str | None
    is_tried: bool = False


@dataclass(frozen=True)
class NodePlace:
    """A node's run and branch, all branches of the run by id, and some segments of them.

    ``segments`` has the newest segment of the node's branch and of each that is said to train, and
    the node's own; ``certificate`` is the newest one of the branch.
    """

    run: Run
    branch: Branch
    branches: Mapping[str, BranchName]
    segments: Mapping[str, Segment]
    certificate: Certificate | None


@dataclass(frozen=True)
class Surroundings:
    """Nodes around one, by id, and those worth naming on the way from the root to it.

    ``line`` has what changed something or began a branch, the root, and the parent, oldest first;
    ``children`` and ``siblings`` are ids, oldest first. Only the parent comes with its metrics.
    """

    by_id: Mapping[str, NodeSummary]
    line: Sequence[NodeSummary]
    children: Sequence[str]
    siblings: Sequence[str]


def read(connection: Connection, node: Node) -> NodePlace:
    """Return the branches of a node's run, in one statement."""
    parameters = {"run": node.run_id, "branch": node.branch_id, "segment": node.segment_id}
    rows = connection.execute(_place_query(), parameters).all()
    own = next(row for row in rows if row.runs_id is not None)
    return NodePlace(
        run=Run(**_part(own, runs)),
        branch=Branch(**_part(own, branches)),
        branches={
            row.branches_id: BranchName(
                row.branches_id,
                row.branches_name,
                row.branches_position,
                row.branches_segment_id,
                row.group_kind == GROUP,
            )
            for row in rows
        },
        segments={
            row.segments_id: segment_rows.record(_part(row, segments))
            for row in rows
            if row.segments_id is not None
        },
        certificate=(
            None if own.certificates_id is None else Certificate(**_part(own, certificates))
        ),
    )


def surroundings(connection: Connection, node: Node, ids: Iterable[str] = ()) -> Surroundings:
    """Return the nodes around one, and those named in ``ids``, in one statement."""
    parameters = {
        "run": node.run_id,
        "node": node.id,
        "parent": node.parent_id,
        "parents": [node.id, node.parent_id or node.id],
        "named": [name for name in (*ids, node.parent_id) if name],
    }
    rows = connection.execute(_surroundings_query(), parameters).all()
    by_id = {row.id: _summary(row) for row in rows}
    return Surroundings(
        by_id,
        [by_id[row.id] for row in rows if row.is_above or row.id == node.parent_id],
        [row.id for row in rows if node.id in (row.parent_id, row.merge_parent_id)],
        [
            row.id
            for row in rows
            if node.parent_id is not None and row.parent_id == node.parent_id and row.id != node.id
        ],
    )


@cache
def _place_query() -> Select[Any]:
    """Return the query of `read`: made once, as making it takes longer than the answer."""
    is_own = branches.c.id == bindparam("branch")
    is_current = segments.c.id == branches.c.segment_id
    is_live = segments.c.status.in_(sorted(lifecycle.LIVE))
    return (
        select(branches, segments, runs, certificates, groups.c.kind.label("group_kind"))
        .outerjoin(groups, groups.c.id == branches.c.group_id)
        .outerjoin(
            segments,
            and_(
                segments.c.branch_id == branches.c.id,
                or_(
                    segments.c.id == bindparam("segment"),
                    and_(is_current, or_(is_own, is_live)),
                ),
            ),
        )
        # What there is one of is read with one of the rows.
        .outerjoin(runs, and_(runs.c.id == branches.c.run_id, is_own))
        .outerjoin(
            certificates,
            and_(is_own, certificates.c.id == newest_of_branch().scalar_subquery()),
        )
        .where(branches.c.run_id == bindparam("run"), visibility.BRANCHES)
        .order_by(branches.c.position)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )


@cache
def _surroundings_query() -> Select[Any]:
    """Return the query of `surroundings`, made once."""
    notable = _notable().cte("notable")
    merges = select(nodes.c.id).where(nodes.c.run_id == bindparam("run"), nodes.c.kind == "merge")
    is_merged = nodes.c.merge_parent_id == bindparam("node")
    chosen = union_all(
        select(notable.c.id),
        select(nodes.c.id).where(nodes.c.id.in_(bindparam("named", expanding=True))),
        select(nodes.c.id).where(nodes.c.parent_id.in_(bindparam("parents", expanding=True))),
        # No index leads to the other parent: the merges of a run are few.
        select(nodes.c.id).where(nodes.c.id.in_(merges), is_merged),
    )
    columns = [
        case((nodes.c.id == bindparam("parent"), nodes.c[name])).label(name)
        if name in _BULK
        else nodes.c[name]
        for name in NodeSummary.__annotations__
        if name in nodes.c
    ]
    sizes = (checkpoints.c.stored_bytes, checkpoints.c.logical_bytes)
    return (
        select(*columns, *sizes, nodes.c.id.in_(select(notable.c.id)).label("is_above"))
        .join(checkpoints, checkpoints.c.digest == nodes.c.state_digest)
        # Not by their run: a scan would read every node of it.
        .where(nodes.c.id.in_(chosen), visibility.of_visible_branches(nodes.c.branch_id))
        .order_by(nodes.c.seq)
    )


def _notable() -> Select[Any]:
    """Return the query for the nodes above one that changed something or began a branch.

    The nodes of a segment follow each other, so that only segments are gone through one by one.
    """
    own = select(nodes.c.segment_id, nodes.c.branch_id, nodes.c.seq.label("last"))
    path = own.where(nodes.c.id == bindparam("node")).cte("path", recursive=True)
    above = select(nodes.c.segment_id, nodes.c.branch_id, nodes.c.seq)
    path = path.union_all(
        above.join(segments, segments.c.start_node_id == nodes.c.id).join(
            path, path.c.segment_id == segments.c.id
        )
    )
    return (
        select(nodes.c.id)
        .join(
            path,
            and_(
                path.c.branch_id == nodes.c.branch_id,
                path.c.segment_id == nodes.c.segment_id,
                nodes.c.seq <= path.c.last,
            ),
        )
        .where(
            or_(tree_log.is_plain() == 0, nodes.c.parent_id.is_(None)),
            nodes.c.id != bindparam("node"),
        )
    )


def _summary(row: Any) -> NodeSummary:
    values = dict(row._mapping)
    del values["is_above"]
    values["changes"] = tuple(Change(**change) for change in values["changes"])
    values["metrics"] = values["metrics"] or {}
    return NodeSummary(**values)


def _part(row: Row[Any], table: NamedFromClause) -> dict[str, Any]:
    return {column.name: row._mapping[f"{table.name}_{column.name}"] for column in table.c}

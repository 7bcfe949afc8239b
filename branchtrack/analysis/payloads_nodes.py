"""Nodes, differences and curves as plain JSON values; see `payloads`.

It knows no terminal and no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis import payloads_code
from branchtrack.analysis.payloads_audit import moment as moment
from branchtrack.analysis.trials.payloads import verdicts_of_nodes, verdicts_of_run
from branchtrack.checkpoints.packs import Store
from branchtrack.core import restores
from branchtrack.core.nonfinite import metric
from branchtrack.core.records import (
    Branch,
    Node,
    Run,
)
from branchtrack.db import nodes
from branchtrack.db import runs as run_rows
from branchtrack.db.storage import references
from branchtrack.db.views import tree_nodes
from branchtrack.db.views.node_search import Match
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import InvalidInput


def node(record: Node | NodeSummary, branch: str, thinned: str | None = None) -> dict[str, Any]:
    """Return a node as it is listed in a tree; ``branch`` is its branch's name.

    ``thinned`` is what retention has left of its checkpoint: ``recipe`` or ``weights``.
    """
    return {
        "id": record.id,
        "branch": branch,
        "parent": record.parent_id,
        "merge_parent": record.merge_parent_id,
        "step": record.step,
        "epoch": record.epoch,
        "kind": record.kind,
        "changes": [change.as_dict() for change in record.changes],
        "message": record.message,
        "actor": record.actor,
        "state_digest": record.state_digest,
        "restore": None if record.compared is None else record.compared["state"],
        "metrics": {name: metric(value) for name, value in record.metrics.items()},
        # A node is committed after its bytes are safe, never before; retention may thin it later.
        "durable": thinned is None,
        "thinned": thinned,
        "created_at": moment(record.created_at),
    }


def show(connection: Connection, store: Store, record: Node) -> dict[str, Any]:
    """Return a node with its whole record, and the size and files of its checkpoint.

    Raises:
        CheckpointMissing: its checkpoint is not recorded.
    """
    branch = run_rows.get_branch(connection, record.branch_id)
    stored = nodes.checkpoint(connection, record.state_digest, need="record")
    packs = sorted({location.pack for location in stored.locations.values()})
    return {
        **node(record, branch.name, stored.thinned),
        "run": run_rows.get_run(connection, record.run_id).name,
        "settings": record.settings,
        "param_groups": record.param_groups,
        "effective": record.effective,
        "restored": record.restored,
        "compared": compared(record.compared),
        "environment": record.environment,
        "verdict": verdicts_of_nodes(connection, [record.id]).get(record.id),
        "code": payloads_code.code(connection, record),
        "children": [child.id for child in nodes.children(connection, record.id, listed=True)],
        "checkpoint": {
            "tensors": stored.tensors,
            "logical_bytes": stored.logical_bytes,
            "stored_bytes": stored.stored_bytes,
            "thinned": stored.thinned,
            "files": [store.describe(pack) for pack in packs],
        },
    }


def matches(connection: Connection, records: Sequence[Match]) -> list[dict[str, Any]]:
    """Return nodes that a query matches: as in a tree, each with its run, settings and status.

    ``status`` is that of its branch.
    """
    verdicts = verdicts_of_nodes(connection, [record.node.id for record in records])
    return [
        {
            **node(record.node, record.branch, record.thinned),
            "verdict": verdicts.get(record.node.id),
            "run": record.run,
            "status": record.status,
            "tags": record.node.tags or [],
            "settings": record.node.settings,
        }
        for record in records
    ]


def diff(connection: Connection, a_ref: str, b_ref: str) -> dict[str, Any]:
    """Return the differences between two branches, two nodes, or one of each.

    ``common_ancestor`` is the id of a node. The metrics compared are the newest of two branches,
    and of nodes those they were committed with. ``data`` is the share of each shard,
    ``environment`` where and from which code the last nodes were made.

    Raises:
        NotFound, Ambiguous: a reference matches no node and no branch, or several.
        InvalidInput: a branch has no node yet.
    """
    # These imports load numpy, which most commands do not need.
    from branchtrack.analysis import diff as differences
    from branchtrack.analysis.comparison import payloads as comparison

    a, b = _side(connection, a_ref), _side(connection, b_ref)
    node_a, node_b = _node_of(connection, a), _node_of(connection, b)
    if isinstance(a, Branch) and isinstance(b, Branch):
        difference = differences.branches_difference(connection, a, b)
    else:
        difference = differences.nodes_difference(connection, node_a, node_b)
    return {
        "a": _side_dict(connection, a_ref, node_a, difference.changes_a),
        "b": _side_dict(connection, b_ref, node_b, difference.changes_b),
        "common_ancestor": difference.ancestor.id if difference.ancestor else None,
        "common_step": difference.ancestor.step if difference.ancestor else None,
        "settings": [{"name": s.name, "a": s.a, "b": s.b} for s in difference.settings],
        "settings_in_all": difference.settings_in_all,
        "metrics": [
            {"name": name, "a": metric(value), "b": metric(other)}
            for name, (value, other) in difference.metrics.items()
        ],
        **comparison.of_heads(connection, a_ref, b_ref),
    }


def curve(
    connection: Connection,
    branch: Branch,
    metric: str,
    points: int | None = None,
    *,
    first: int | None = None,
    last: int | None = None,
    since: str | None = None,
) -> dict[str, Any]:
    """Return one metric along a branch's whole line; with ``points``, fewer with extremes kept.

    ``first`` and ``last`` are the steps it is cut to, before that. With ``since``, the ``next`` of
    an earlier answer, only newer points are returned; if points before it are no longer part of
    the branch, all of them, and ``reset`` is true. ``gaps`` holds the steps of all values that are
    NaN or infinite; ``wall_times`` are seconds since 1970, for calculations.

    Raises:
        NotFound: no such metric. InvalidInput: ``points`` is under 4, or ``since`` no cursor.
    """
    # These imports load numpy and tsdownsample, which most commands do not need.
    from branchtrack.analysis import courses, curves, downsample

    if points is not None and points < 4:
        raise InvalidInput("points", points, "4 or more")
    seen: int | None = None
    if since is None:
        course = courses.branch_course(connection, branch, metric, points, first=first, last=last)
        buckets = course.buckets
        stitched = curves.Curve(branch, metric, courses.thinned(buckets, points), course.spans)
        gaps, count = buckets.gaps.steps.tolist(), int((buckets.count + buckets.broken).sum())
        series, ends = stitched.series, buckets.steps
    else:
        stitched, seen = curves.curve_since(connection, branch, metric, since)
        after = max(-1 if first is None else first - 1, -1 if seen is None else seen)
        part = stitched.series.cut(after, last)
        series = part if points is None else downsample.downsample(part, points)
        gaps, count, ends = downsample.gaps(part), int(part.steps.size), part.steps
    newest = int(ends[-1]) if ends.size else seen
    return {
        "branch": branch.name,
        "metric": metric,
        "steps": series.steps.tolist(),
        "values": series.values.tolist(),
        "wall_times": series.times.tolist(),
        "gaps": gaps,
        "points": count,
        "segments": [
            {"id": span.segment, "after": span.after, "upto": span.upto} for span in stitched.spans
        ],
        "forks": stitched.forks,
        "next": None if newest is None else stitched.cursor(newest),
        "reset": since is not None and seen is None,
    }


def metrics(connection: Connection, branch: Branch) -> list[dict[str, Any]]:
    """Return the name, step and value of the newest point of each metric of a branch, by name."""
    from branchtrack.analysis import curves

    newest = curves.newest_points(connection, branch)
    return [{"name": name, "step": step, "value": value} for name, (step, value) in newest.items()]


def page(
    connection: Connection,
    run: Run,
    limit: int,
    after: int,
    *,
    branch: Branch | None = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """Return ``nodes`` with ``seq > after``, oldest first, ``total``, and ``next``: a seq or None.

    ``branch`` and ``kind`` narrow all of it.
    """
    which = {"branch_id": None if branch is None else branch.id, "kind": kind}
    rows, total = tree_nodes.page(connection, run.id, limit + 1, after, **which)
    names = {each.id: each.name for each in run_rows.list_branches(connection, run.id)}
    thinned = references.of_run(connection, run.id)
    verdicts = verdicts_of_run(connection, run.id)
    shown = rows[:limit]
    return {
        "nodes": [
            {
                "seq": row.seq,
                **node(row, names[row.branch_id], thinned.get(row.state_digest)),
                "verdict": verdicts.get(row.id),
            }
            for row in shown
        ],
        "total": total,
        "next": shown[-1].seq if len(rows) > limit else None,
    }


def _side(connection: Connection, ref: str) -> Branch | Node:
    return nodes.named(connection, ref) or run_rows.find_branch(connection, ref)


def _node_of(connection: Connection, side: Branch | Node) -> Node:
    if isinstance(side, Node):
        return side
    if side.head_id is None:
        raise InvalidInput("branch", side.name, "a branch with at least one node")
    return nodes.get(connection, side.head_id)


def _side_dict(
    connection: Connection, ref: str, head: Node, changed: tuple[Node, ...]
) -> dict[str, Any]:
    names = {branch.id: branch.name for branch in run_rows.list_branches(connection, head.run_id)}
    thinned = references.of_run(connection, head.run_id) if changed else {}
    return {
        "ref": ref,
        "branch": names[head.branch_id],
        "node": head.id,
        "step": head.step,
        "changes": [
            node(record, names[record.branch_id], thinned.get(record.state_digest))
            for record in changed
        ],
    }


def compared(compared: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return how a resume's first update compares with the node's own continuation."""
    return None if compared is None else {**compared, "about": restores.sentence(compared)}

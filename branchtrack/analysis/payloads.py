"""What is told to scripts: runs, trees, nodes, differences and curves as plain JSON values.

The command line's ``--json`` and the web API both answer with these, so the keys are a promise
(design.md 9); more may be added. Times are ISO 8601 in UTC; NaN and the infinities stay
floats here, and whoever writes JSON spells them (`core.nonfinite`). It knows
no terminal and no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack import redaction
from branchtrack.analysis.payloads_audit import moment as moment
from branchtrack.checkpoints.packs import Store
from branchtrack.core import exactness, lifecycle, restores
from branchtrack.core.nonfinite import metric
from branchtrack.core.records import (
    Branch,
    Certificate,
    Launch,
    Node,
    Refusals,
    Request,
    Run,
    Segment,
)
from branchtrack.db import launches, nodes, segments
from branchtrack.db import runs as run_rows
from branchtrack.db.views import run_list, tree_nodes, tree_outline
from branchtrack.db.views.run_list import RunSummary
from branchtrack.db.views.tree_outline import NodeSummary, TreeSummary
from branchtrack.errors import InvalidInput


def runs(connection: Connection, now: float, limit: int | None = None) -> list[dict[str, Any]]:
    """The runs, the most lately changed first; ``now`` decides which of them are lost."""
    return _run_lines(connection, run_list.find_runs(connection, limit=limit), now)


def page_of_runs(
    connection: Connection, now: float, limit: int, after: tuple[float, str] | None
) -> dict[str, Any]:
    """``runs``, the most lately made first; ``total``; ``next``, the cursor behind them or None.

    ``after`` is (created_at, id) of the last run of the page before.
    """
    lines = run_list.created_runs(connection, limit + 1, after)
    shown = lines[:limit]
    last = shown[-1].run if len(lines) > limit else None
    return {
        "runs": _run_lines(connection, shown, now),
        "total": run_rows.count_runs(connection),
        "next": None if last is None else f"{last.created_at!r}~{last.id}",
    }


def _run_lines(
    connection: Connection, lines: Sequence[RunSummary], now: float
) -> list[dict[str, Any]]:
    current = run_list.current_segments(connection, [line.run.id for line in lines])
    return [_run_line(line, current.get(line.run.id, ()), now) for line in lines]


def _run_line(line: RunSummary, current: Sequence[Segment], now: float) -> dict[str, Any]:
    statuses = (lifecycle.segment_status(segment, now) for segment in current)
    return {
        "id": line.run.id,
        "name": line.run.name,
        "status": lifecycle.run_status(statuses),
        "branches": line.branches,
        "nodes": line.nodes,
        "tags": line.run.tags,
        "created_at": moment(line.run.created_at),
        "updated_at": moment(line.run.updated_at),
    }


def tree(connection: Connection, run: Run) -> dict[str, Any]:
    """A run with its branches in the order made, and its nodes, oldest first."""
    outline = tree_outline.trees(connection, [run.id])[run.id]
    run_nodes = tree_nodes.node_summaries(connection, run.id)
    newest = launches.newest_of_run(connection, run.id)
    names = {branch.id: branch.name for branch in outline.branches}
    steps, now = {record.id: record.step for record in run_nodes}, time.time()
    return {
        "run": {
            "id": run.id,
            "name": run.name,
            "default_branch": run.default_branch,
            "tags": run.tags,
            "notes": run.notes,
            "entry_point": redaction.redacted_command(run.entry_point),
            "created_at": moment(run.created_at),
            "updated_at": moment(run.updated_at),
        },
        "branches": [_branch(outline, branch, steps, now) for branch in outline.branches],
        "nodes": [node(record, names[record.branch_id]) for record in run_nodes],
        "refused": _refused(newest, names),
        "troubles": [
            {
                "branch": branch.name,
                "step": trouble.step,
                "since": moment(trouble.payload["time"]),
                "reason": trouble.reason,
            }
            for branch in outline.branches
            if (trouble := outline.troubles.get(branch.segment_id or "")) is not None
        ],
    }


def node(record: Node | NodeSummary, branch: str) -> dict[str, Any]:
    """A node as it stands in a tree; ``branch`` is its branch's name."""
    return {
        "id": record.id,
        "branch": branch,
        "parent": record.parent_id,
        "step": record.step,
        "epoch": record.epoch,
        "kind": record.kind,
        "changes": [change.as_dict() for change in record.changes],
        "message": record.message,
        "actor": record.actor,
        "state_digest": record.state_digest,
        "restore": None if record.compared is None else record.compared["state"],
        "metrics": {name: metric(value) for name, value in record.metrics.items()},
        # A node is committed after its bytes are safe, never before.
        "durable": True,
        "created_at": moment(record.created_at),
    }


def show(connection: Connection, store: Store, record: Node) -> dict[str, Any]:
    """A node with all that is recorded of it, and the size and files of its checkpoint.

    Raises:
        CheckpointMissing: its checkpoint is not recorded.
    """
    branch = run_rows.get_branch(connection, record.branch_id)
    stored = nodes.checkpoint(connection, record.state_digest)
    packs = sorted({location.pack for location in stored.locations.values()})
    return {
        **node(record, branch.name),
        "run": run_rows.get_run(connection, record.run_id).name,
        "settings": record.settings,
        "param_groups": record.param_groups,
        "effective": record.effective,
        "restored": record.restored,
        "compared": _compared(record.compared),
        "environment": record.environment,
        "children": [child.id for child in nodes.children(connection, record.id)],
        "checkpoint": {
            "tensors": stored.tensors,
            "logical_bytes": stored.logical_bytes,
            "stored_bytes": stored.stored_bytes,
            "files": [store.describe(pack) for pack in packs],
        },
    }


def _compared(compared: dict[str, Any] | None) -> dict[str, Any] | None:
    """How a resume's first update stands to the node's own continuation, with a sentence on it."""
    return None if compared is None else {**compared, "about": restores.sentence(compared)}


def diff(connection: Connection, a_ref: str, b_ref: str) -> dict[str, Any]:
    """What differs between two branches, or two nodes, or one of each.

    ``common_ancestor`` is a node's id; of two branches the newest metrics are compared, of nodes
    those they were committed with.

    Raises:
        NotFound, Ambiguous: a reference fits no node and no branch, or several.
        InvalidInput: a branch has no node yet.
    """
    # numpy comes with it, and most commands do without.
    from branchtrack.analysis import diff as differences

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
    }


def curve(
    connection: Connection, branch: Branch, metric: str, points: int | None = None
) -> dict[str, Any]:
    """One metric along a branch's whole line; ``points`` asks for fewer, extremes kept.

    The steps of all values that are NaN or infinite are in ``gaps``;
    ``wall_times`` are seconds since 1970, to reckon with.

    Raises:
        NotFound: no such metric. InvalidInput: ``points`` is under 4.
    """
    # numpy and tsdownsample come with them, and most commands do without.
    from branchtrack.analysis import curves, downsample

    if points is not None and points < 4:
        raise InvalidInput("points", points, "4 or more")
    full_curve = curves.branch_curve(connection, branch, metric)
    series = (
        full_curve.series if points is None else downsample.downsample(full_curve.series, points)
    )
    return {
        "branch": branch.name,
        "metric": metric,
        "steps": series.steps.tolist(),
        "values": series.values.tolist(),
        "wall_times": series.times.tolist(),
        "gaps": downsample.gaps(full_curve.series),
        "points": int(full_curve.series.steps.size),
        "segments": [
            {"id": span.segment, "after": span.after, "upto": span.upto}
            for span in full_curve.spans
        ],
        "forks": full_curve.forks,
    }


def certificate(connection: Connection, record: Certificate) -> dict[str, Any]:
    """A certificate: from which node of which branch to which, and what came of it."""
    steps = {
        node_id: nodes.get(connection, node_id).step
        for node_id in (record.from_node_id, record.to_node_id)
    }
    branch = run_rows.get_branch(connection, record.branch_id)
    payload = _certificate(record, branch.name, steps)
    return {"run": run_rows.get_run(connection, record.run_id).name, **payload}


def request(record: Request) -> dict[str, Any]:
    """A request and its answer; of a change of settings ``requested`` maps names to values."""
    requested = record.requested.get("values", {}) if record.kind == "set" else record.requested
    return {
        "seq": record.seq,
        "id": record.id,
        "kind": record.kind,
        "state": record.state,
        "payload": record.payload,
        "requested": requested,
        "applied": record.applied,
        "before": record.before,
        "effective": record.effective,
        "result": record.result,
        "step": record.step,
        "node": record.node_id,
        "actor": record.actor,
        "reason": record.reason,
        "error": record.error,
        "key": record.key,
        "conditions": record.conditions,
        "channel": record.channel,
        "asked_step": record.asked_step,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }


def refusals(counted: Refusals) -> dict[str, Any]:
    """How many refusals were counted beyond those that are listed as requests."""
    return {
        "branch": counted.branch_id,
        "actor": counted.actor,
        "kind": counted.kind,
        "count": counted.count,
        "first_at": moment(counted.first_at),
        "last_at": moment(counted.last_at),
    }


def _refused(newest: Launch | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """The newest launch of a run, where its process trained nothing and its branch is gone."""
    if newest is None or newest.state != "failed" or newest.branch_id in names:
        return None
    return {
        "launch": newest.id,
        "branch": newest.branch,
        "node": newest.node_id,
        "error": newest.error,
        "log": newest.log,
        "created_at": moment(newest.created_at),
    }


def launch(connection: Connection, record: Launch) -> dict[str, Any]:
    """A launch, and what its process read back at its first update.

    Where it was ``withdrawn`` nothing is left of its branch: its process trained nothing.
    """
    withdrawn = launches.is_withdrawn(connection, record)
    fork = None if withdrawn else nodes.get(connection, record.fork_node_id)
    segment = None if withdrawn else segments.get(connection, record.segment_id)
    return {
        "launch": record.id,
        "run": run_rows.get_run(connection, record.run_id).name,
        "branch": launches.branch_name(connection, record),
        "withdrawn": withdrawn,
        "node": record.node_id,
        "fork_node": None if withdrawn else record.fork_node_id,
        "state": record.state,
        "mode": record.mode,
        "overrides": record.overrides,
        "strict": record.strict,
        "environment": {
            name: value if name == "keep" else sorted(value)
            for name, value in (record.environment or {}).items()
        },
        "effective": fork.effective if fork else None,
        "restored": fork.restored if fork else None,
        "compared": _compared(fork.compared) if fork else None,
        "step": segment.step if segment else None,
        "max_steps": segment.max_steps if segment else None,
        "pid": record.pid,
        "exit_code": record.exit_code,
        "error": record.error,
        "log": record.log,
        "actor": record.actor,
        "reason": record.reason,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }


def _certificate(record: Certificate, branch: str, steps: Mapping[str, int]) -> dict[str, Any]:
    first, last = steps[record.from_node_id], steps[record.to_node_id]
    return {
        "id": record.id,
        "branch": branch,
        "from": record.from_node_id,
        "to": record.to_node_id,
        "from_step": first,
        "to_step": last,
        "steps": last - first,
        "exact": record.exact,
        "state": exactness.verdict(record),
        "words": exactness.words(record),
        "difference": record.difference,
        "untested": record.untested,
        "environment": record.environment,
        "digest": record.digest,
        "actor": record.actor,
        "created_at": moment(record.created_at),
    }


def _branch(
    outline: TreeSummary, branch: Branch, steps: Mapping[str, int], now: float
) -> dict[str, Any]:
    """A branch in a tree; ``steps`` are those of the nodes."""
    segment, status = outline.segments.get(branch.segment_id or ""), outline.status(branch, now)
    record = outline.certificates.get(branch.id)
    return {
        "id": branch.id,
        "name": branch.name,
        "status": status,
        # Of a lost branch: whether its process is known to be gone, or only silent.
        "gone": segment.gone if segment and status == "lost" else None,
        "head": branch.head_id,
        "forked_from": branch.start_node_id,
        "step": segment.step if segment else None,
        "max_steps": segment.max_steps if segment else None,
        "rate": segment.rate if segment else None,
        "error": segment.error if segment else None,
        "saves": outline.saves(branch),
        "certificate": None if record is None else _certificate(record, branch.name, steps),
        "created_at": moment(branch.created_at),
    }


def _side(connection: Connection, ref: str) -> Branch | Node:
    return nodes.by_prefix(connection, ref) or run_rows.find_branch(connection, ref)


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
    return {
        "ref": ref,
        "branch": names[head.branch_id],
        "node": head.id,
        "step": head.step,
        "changes": [node(record, names[record.branch_id]) for record in changed],
    }

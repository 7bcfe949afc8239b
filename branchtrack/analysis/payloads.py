"""Runs, trees and certificates as plain JSON values, for scripts to read.

The command line's ``--json`` and the web API both answer with these, so the keys are a promise
(docs/api.md); more may be added. Times are ISO 8601 in UTC. NaN and the infinities stay floats
here; the writers of JSON spell them (`core.nonfinite`). `payloads_nodes` and `payloads_requests`
have the other subjects. It knows no terminal and no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack import redaction
from branchtrack.analysis.payloads_audit import moment as moment
from branchtrack.analysis.payloads_nodes import node
from branchtrack.analysis.trials.payloads import lines_of_run, verdicts_of_run
from branchtrack.core import exactness, lifecycle
from branchtrack.core.launchers import jobs
from branchtrack.core.queries.columns import Fact
from branchtrack.core.records import (
    Branch,
    Certificate,
    Launch,
    Node,
    Run,
    Segment,
)
from branchtrack.db import nodes
from branchtrack.db import runs as run_rows
from branchtrack.db.browsing import run_search
from branchtrack.db.browsing.run_records import RunRecord
from branchtrack.db.browsing.run_search import RunMatch, Selection
from branchtrack.db.orders import launches
from branchtrack.db.storage import references
from branchtrack.db.views import run_list, tree_nodes, tree_outline
from branchtrack.db.views.run_list import RunCounts, RunSummary
from branchtrack.db.views.tree_outline import TreeSummary

_NO_COUNTS = RunCounts(0, 0)


def runs(
    connection: Connection, now: float, limit: int | None = None, archived: bool = True
) -> list[dict[str, Any]]:
    """Return the runs, the most recently changed first; ``now`` decides which of them are lost.

    Those that are archived are among them if ``archived``.
    """
    lines = run_list.find_runs(connection, limit=limit, archived=archived)
    return _run_lines(connection, lines, now)


def page_of_runs(
    connection: Connection, now: float, limit: int, after: tuple[float, str] | None
) -> dict[str, Any]:
    """Return ``runs``, the most recently created first, ``total``, and ``next``, a cursor or None.

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


def table_of_runs(
    connection: Connection, selection: Selection, now: float, limit: int | None, offset: int = 0
) -> dict[str, Any]:
    """Return ``runs`` that match, ``total`` of them, ``hidden`` in the archive, and ``next``.

    ``next`` is the offset of the runs that follow, None after the last. ``hints`` are there if
    columns, or a query that nothing matches, have names that no run has. It has to be the first
    that is done with the connection.
    """
    matches = run_search.search(connection, selection, now, limit, offset)
    counted = run_list.counts(connection, [match.run.id for match in matches.runs])
    following = offset + len(matches.runs)
    rows = (
        _row_of_table(match, counted.get(match.run.id, _NO_COUNTS), selection)
        for match in matches.runs
    )
    return {
        "runs": list(rows),
        "total": matches.total,
        "hidden": matches.hidden,
        "next": following if following < matches.total else None,
        **({"hints": list(matches.hints)} if matches.hints else {}),
    }


def _row_of_table(match: RunMatch, counts: RunCounts, selection: Selection) -> dict[str, Any]:
    run = match.run
    facts = {"step": run.step, "speed": _rate(run)}
    values = {
        str(column): facts[column.word] if isinstance(column, Fact) else value
        for column, value in match.values.items()
        if not isinstance(column, Fact) or column.word in facts
    }
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        **_finer(run.status, run.shown_status),
        "branches": len(run.branches),
        "nodes": counts.nodes,
        "tags": run.tags,
        "archived": run.archived,
        "pinned": run.pinned_at is not None,
        "created_at": moment(run.created_at),
        "updated_at": moment(run.updated_at),
        **({"values": values} if values else {}),
        **({} if selection.by is None else {"group": match.group}),
    }


def _rate(run: RunRecord) -> float | None:
    """Return the updates a second of a run that trains."""
    branch = run.shown_branch if run.status == "running" else None
    return branch.current.rate if branch and branch.current else None


def _run_lines(
    connection: Connection, lines: Sequence[RunSummary], now: float
) -> list[dict[str, Any]]:
    current = run_list.current_segments(connection, [line.run.id for line in lines])
    segments = [segment for listed in current.values() for segment in listed]
    with_jobs = run_list.launches_with_jobs(connection, segments)
    return [_run_line(line, current.get(line.run.id, ()), with_jobs, now) for line in lines]


def _run_line(
    line: RunSummary,
    current: Sequence[Segment],
    with_jobs: Mapping[str, tuple[str, str]],
    now: float,
) -> dict[str, Any]:
    statuses = {segment.id: lifecycle.segment_status(segment, now) for segment in current}
    status = lifecycle.run_status(statuses.values())
    first = next((key for key, state in statuses.items() if state == status), "")
    return {
        "id": line.run.id,
        "name": line.run.name,
        "status": status,
        **_finer(status, jobs.shown_state(status, *with_jobs.get(first, (None, None)))),
        "branches": line.branches,
        "nodes": line.nodes,
        "tags": line.run.tags,
        "archived": line.run.archived_at is not None,
        "pinned": line.run.pinned_at is not None,
        "created_at": moment(line.run.created_at),
        "updated_at": moment(line.run.updated_at),
    }


def labels(item: Run | Branch | Node) -> dict[str, Any]:
    """Return what people call a run, a branch or a node: name, tags, notes, archive, pin."""
    kind = type(item).__name__.lower()
    if isinstance(item, Node):
        return {"kind": kind, "id": item.id, "tags": item.tags or []}
    return {
        "kind": kind,
        "id": item.id,
        "name": item.name,
        "tags": item.tags or [],
        "notes": item.notes or "",
        "archived": item.archived_at is not None,
        "pinned": item.pinned_at is not None,
    }


def run(connection: Connection, record: Run) -> dict[str, Any]:
    """Return a run without its tree: its facts, status, and how much there is of it."""
    outline, now = tree_outline.trees(connection, [record.id])[record.id], time.time()
    statuses = (outline.status(branch, now) for branch in outline.branches)
    return {
        **_facts(record),
        "status": lifecycle.run_status(statuses),
        "archived": record.archived_at is not None,
        "pinned": record.pinned_at is not None,
        "branches": len(outline.branches),
        "nodes": tree_nodes.page(connection, record.id, 0, 0)[1],
        "policy": record.retention,
    }


def branches(connection: Connection, run: Run) -> dict[str, Any]:
    """Return the branches of a run in order of creation, as in its tree."""
    outline = tree_outline.trees(connection, [run.id])[run.id]
    ends = [
        node_id
        for record in outline.certificates.values()
        for node_id in (record.from_node_id, record.to_node_id)
    ]
    steps = {key: row.step for key, row in tree_outline.nodes_by_id(connection, ends).items()}
    now = time.time()
    rows = [_branch(outline, branch, steps, now) for branch in outline.branches]
    return {"run": run.name, "branches": rows}


def tree(connection: Connection, run: Run) -> dict[str, Any]:
    """Return a run with its branches in order of creation, and its nodes, oldest first."""
    outline = tree_outline.trees(connection, [run.id])[run.id]
    run_nodes = tree_nodes.node_summaries(connection, run.id)
    newest = launches.newest_of_run(connection, run.id)
    names = {branch.id: branch.name for branch in outline.branches}
    thinned = references.of_run(connection, run.id)
    verdicts = verdicts_of_run(connection, run.id)
    steps, now = {record.id: record.step for record in run_nodes}, time.time()
    return {
        "run": _facts(run),
        "branches": [_branch(outline, branch, steps, now) for branch in outline.branches],
        "nodes": [
            {
                **node(record, names[record.branch_id], thinned.get(record.state_digest)),
                "verdict": verdicts.get(record.id),
            }
            for record in run_nodes
        ],
        "trials": lines_of_run(connection, run.id),
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


def certificate(connection: Connection, record: Certificate) -> dict[str, Any]:
    """Return a certificate: its branch, its first and last node, and its verdict."""
    steps = {
        node_id: nodes.get(connection, node_id).step
        for node_id in (record.from_node_id, record.to_node_id)
    }
    branch = run_rows.get_branch(connection, record.branch_id)
    payload = _certificate(record, branch.name, steps)
    return {"run": run_rows.get_run(connection, record.run_id).name, **payload}


def _facts(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "default_branch": run.default_branch,
        "tags": run.tags,
        "notes": run.notes,
        "entry_point": redaction.redacted_command(run.entry_point),
        "created_at": moment(run.created_at),
        "updated_at": moment(run.updated_at),
    }


def _refused(newest: Launch | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the newest launch of a run if its process trained nothing and its branch is gone."""
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


def _where(launch: Launch | None) -> str:
    """Return where the newest launch of a branch is in its cluster, if it has not ended."""
    is_open = launch is not None and launch.state not in lifecycle.LAUNCH_ENDS
    return jobs.words(launch) if launch is not None and is_open else ""


def _finer(status: str, shown: str) -> dict[str, str]:
    """Return the ``shown`` status where a cluster's job makes it finer than the ``status``."""
    return {"shown": shown} if shown != status else {}


def _branch(
    outline: TreeSummary, branch: Branch, steps: Mapping[str, int], now: float
) -> dict[str, Any]:
    """Return a branch of a tree; ``steps`` are those of its nodes."""
    segment, status = outline.segments.get(branch.segment_id or ""), outline.status(branch, now)
    record = outline.certificates.get(branch.id)
    return {
        "id": branch.id,
        "name": branch.name,
        "group": outline.groups.get(branch.group_id or ""),
        "status": lifecycle.shown(status),
        **_finer(status, outline.shown_status(branch, now)),
        "live": status in lifecycle.LIVE,
        "tags": branch.tags or [],
        "notes": branch.notes or "",
        "archived": branch.archived_at is not None,
        "pinned": branch.pinned_at is not None,
        # Of a lost branch: whether its process is known to be gone, or is only silent.
        "gone": segment.gone if segment and status == "lost" else None,
        "head": branch.head_id,
        "forked_from": branch.start_node_id,
        "step": segment.step if segment else None,
        "max_steps": segment.max_steps if segment else None,
        "rate": segment.rate if segment else None,
        "error": segment.error if segment else None,
        "where": _where(outline.launches.get(branch.id)),
        "saves": outline.saves(branch),
        "certificate": None if record is None else _certificate(record, branch.name, steps),
        "created_at": moment(branch.created_at),
    }

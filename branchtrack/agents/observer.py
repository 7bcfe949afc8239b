"""A run as an agent sees it: read in few statements, whatever its size."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, or_, select

from branchtrack.analysis import curves
from branchtrack.core import capabilities, lifecycle, tree
from branchtrack.core.agents.views import Curve, SeenBranch, SeenNode, SeenTrial, View
from branchtrack.core.builtin_settings import declared
from branchtrack.core.records import Branch, Request, Segment
from branchtrack.core.trials import outcomes
from branchtrack.core.trials.judging import WORDS
from branchtrack.core.trials.records import GROUP, RUNNING, TrialHead
from branchtrack.db import metrics, requests, runs, segments
from branchtrack.db import nodes as node_rows
from branchtrack.db.orders import groups, trials
from branchtrack.db.tables import nodes

#: The newest points of a curve that are looked at, nodes of a line, requests, and trials.
MOST_POINTS, MOST_NODES, MOST_REQUESTS, MOST_TRIALS = 2000, 300, 20, 10
#: Metrics that a warning names.
_MOST_NAMED = 12


def observe(connection: Connection, branch: Branch, wanted: Collection[str] = ()) -> View:
    """Return the view of a branch; ``wanted`` are the metrics to read, all if it is empty."""
    run = runs.get_run(connection, branch.run_id)
    branches = _branches(connection, branch)
    by_id = {segment.id: segment for segment in segments.list_of_run(connection, run.id)}
    last = metrics.last_values(connection, [b.segment_id for b in branches if b.segment_id])
    starts = _starts(connection, branches)
    names = {b.id: b.name for b in branches}
    seen = {
        other.id: _branch(other, by_id.get(other.segment_id or ""), last, starts, names)
        for other in branches
    }
    segment = by_id.get(branch.segment_id or "")
    available = curves.metric_names(connection, [branch])
    read = [name for name in available if not wanted or name in wanted]
    tried = requests.list_of_run(connection, run.id, MOST_REQUESTS, branch_id=branch.id)
    return View(
        run=run.name,
        branch=branch.name,
        status=seen[branch.id].status,
        step=segment.step if segment else 0,
        max_steps=segment.max_steps if segment else None,
        settings=segment.settings if segment else {},
        declared=declared(segment.declared) if segment else {},
        curves={name: _curve(connection, branch, name) for name in read},
        nodes=_line(connection, branch),
        siblings=[each for key, each in seen.items() if key != branch.id],
        tried=[_request(row) for row in tried],
        trials=_trials(connection, run.id),
        actions=[*capabilities.read(segment.offers).actions] if segment else [],
        own=seen[branch.id],
        evaluates=bool(segment and capabilities.read(segment.offers).evaluates),
    )


def run_steps(connection: Connection, branch: Branch) -> int:
    """Return the updates that the whole run has made, by which budgets are counted."""
    return segments.trained_steps(connection, branch.run_id)


def metric_warning(connection: Connection, branch: Branch, metric: str) -> str:
    """Return a warning that a branch's run has not logged a metric so far; empty if it has.

    A run that has logged nothing yet says nothing of names: then there is no warning.
    """
    logged = curves.metric_names(connection, runs.list_branches(connection, branch.run_id))
    if not logged or metric in logged:
        return ""
    more = len(logged) - _MOST_NAMED
    listed = ", ".join(logged[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    run = runs.get_run(connection, branch.run_id).name
    return f"{run} has logged no metric {metric!r} yet. It has {listed}."


def _branches(connection: Connection, branch: Branch) -> list[Branch]:
    """Return the branches of a run but for those of trials; the one that is watched is there."""
    listed = groups.of_run(connection, branch.run_id)
    tried = {group.id for group in listed if group.kind == GROUP}
    return [
        other
        for other in runs.list_branches(connection, branch.run_id)
        if other.group_id not in tried or other.id == branch.id
    ]


def _trials(connection: Connection, run_id: str) -> list[SeenTrial]:
    """Return the changes of the newest trials of a run, the oldest first."""
    newest, _total = trials.latest(connection, run_id, MOST_TRIALS)
    listed = newest[::-1]
    at = node_rows.by_ids(connection, [ref for trial in listed for ref in trial.spec.nodes])
    return [
        _seen_trial(trial, arm, [at[ref].step for ref in trial.spec.nodes if ref in at])
        for trial in listed
        for arm in range(len(trial.spec.arms))
    ]


def _seen_trial(trial: TrialHead, arm: int, steps: Sequence[int]) -> SeenTrial:
    verdict = outcomes.shown(trial, arm)
    is_pending = trial.state == RUNNING and trial.verdicts[arm] is None
    return SeenTrial(
        change=trial.spec.arms[arm].label,
        steps=steps,
        metric=trial.spec.metric,
        verdict="pending" if is_pending else WORDS[verdict.verdict],
        **{}
        if is_pending
        else {"effect": verdict.effect, "low": verdict.low, "high": verdict.high},
    )


def _curve(connection: Connection, branch: Branch, name: str) -> Curve:
    """Return the newest points of a curve.

    If these begin with values that are not finite, the first point of that stretch is there, too:
    policies say since which step it lasts, and look for a healthy node before it.
    """
    series = curves.branch_curve(connection, branch, name).series
    first = max(0, series.steps.size - MOST_POINTS)
    finite = np.isfinite(series.values)
    shown = np.arange(first, series.steps.size)
    if first and not finite[first]:
        earlier = np.flatnonzero(finite[:first])
        began = int(earlier[-1]) + 1 if earlier.size else 0
        shown = np.unique(np.append(shown, began))
    return Curve(series.steps[shown].tolist(), series.values[shown].tolist())


def _line(connection: Connection, branch: Branch) -> list[SeenNode]:
    """Return the newest nodes of a branch's line, the oldest first."""
    if branch.segment_id is None:
        return []
    starts = node_rows.starts(connection, branch.run_id)
    spans = tree.lineage(branch.segment_id, starts.__getitem__)
    parts = [
        nodes.c.segment_id == span.segment
        if span.upto is None
        else and_(nodes.c.segment_id == span.segment, nodes.c.step <= span.upto)
        for span in spans
    ]
    query = select(nodes.c.id, nodes.c.step, nodes.c.kind, nodes.c.metrics, nodes.c.settings)
    rows = connection.execute(
        query.where(or_(*parts)).order_by(nodes.c.step.desc(), nodes.c.seq.desc()).limit(MOST_NODES)
    )
    return [SeenNode(*row) for row in rows][::-1]


def _starts(connection: Connection, branches: Sequence[Branch]) -> dict[str, Any]:
    """Return the nodes at which branches start: branch, step and changes, by branch id."""
    begun = {b.id: b.start_node_id for b in branches if b.start_node_id is not None}
    query = select(nodes.c.id, nodes.c.branch_id, nodes.c.step)
    rows = connection.execute(query.where(nodes.c.id.in_(set(begun.values()))))
    at = {row.id: row for row in rows}
    # What a branch begins with is a node of its own, at the step of the one that it starts from.
    first = select(nodes.c.branch_id, nodes.c.parent_id, nodes.c.changes).where(
        nodes.c.branch_id.in_(begun), nodes.c.parent_id.in_(set(begun.values()))
    )
    changes = {
        row.branch_id: row.changes
        for row in connection.execute(first)
        if row.parent_id == begun[row.branch_id]
    }
    return {
        branch_id: (at[node_id].branch_id, at[node_id].step, changes.get(branch_id, []))
        for branch_id, node_id in begun.items()
        if node_id in at
    }


def _branch(
    branch: Branch,
    segment: Segment | None,
    last: Mapping[str, Mapping[str, float]],
    starts: Mapping[str, Any],
    names: Mapping[str, str],
) -> SeenBranch:
    parent, step, changes = starts.get(branch.id, (None, None, []))
    values = last.get(branch.segment_id or "", {})
    status = "empty" if segment is None else lifecycle.segment_status(segment, time.time())
    return SeenBranch(
        name=branch.name,
        status=lifecycle.shown(status),
        step=segment.step if segment else 0,
        forked_from=branch.start_node_id,
        forked_at=step,
        changes={change["name"]: change["after"] for change in changes},
        settings=segment.settings if segment else {},
        metrics=values,
        head=branch.head_id,
        parent=names.get(parent or ""),
    )


def _request(row: Request) -> dict[str, Any]:
    return {
        "step": row.step if row.step is not None else row.asked_step,
        "kind": row.kind,
        "requested": row.requested or row.payload,
        "state": row.state,
        "who": row.actor,
        "reason": row.reason,
    }

"""Trials and reviews as plain JSON values; see `analysis.payloads`. It knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection

from branchtrack.analysis.payloads_audit import moment
from branchtrack.core.records import Node
from branchtrack.core.trials import labels
from branchtrack.core.trials.judging import PENDING, WORDS
from branchtrack.core.trials.outcomes import shown, standing, summary
from branchtrack.core.trials.records import RUNNING, SAME, Pair, Side, Spec, Trial, TrialHead
from branchtrack.db import nodes, runs
from branchtrack.db.orders import groups, trials


def trial(
    connection: Connection, record: Trial, names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a trial as `heads` does, with its pairs and what they come to.

    Branches are named as they are now; one that is gone has no name. ``names`` are those by id, if
    they were read already.
    """
    (head,) = heads(connection, [record])
    names = trials.branch_names(connection, record) if names is None else names
    return {
        **head,
        "trained_steps": record.trained_steps,
        "floor": record.floor if record.kind == SAME else record.spec.floor,
        "pairs": [_pair(pair, names) for pair in record.pairs],
    }


def heads(connection: Connection, records: Sequence[TrialHead]) -> list[dict[str, Any]]:
    """Return trials without their pairs; ``effect low high verdict`` are of the first change.

    While it runs they are what the complete pairs show so far, and ``verdict`` is ``pending`` until
    it is settled. ``changes`` has the same of every change.
    """
    starts = nodes.by_ids(connection, {ref for record in records for ref in record.spec.nodes})
    run_names = {ref: runs.get_run(connection, ref).name for ref in {r.run_id for r in records}}
    group_names = {
        group.id: group.name for ref in run_names for group in groups.of_run(connection, ref)
    }
    return [
        {
            "run": run_names[record.run_id],
            "group": group_names.get(record.group_id or ""),
            **_head(record, starts),
        }
        for record in records
    ]


def _head(record: TrialHead, starts: Mapping[str, Node]) -> dict[str, Any]:
    spec = record.spec
    changes = [_change(record, arm) for arm in range(len(spec.arms))]
    return {
        "id": record.id,
        "kind": record.kind,
        "state": record.state,
        "error": record.error or None,
        "node": record.subject or spec.nodes[0],
        "nodes": [
            {"id": ref, "step": starts[ref].step if ref in starts else None} for ref in spec.nodes
        ],
        "metric": spec.metric,
        "higher_is_better": spec.higher_is_better,
        "steps": spec.steps,
        "repeats": spec.repeats,
        "at": list(spec.at),
        "most_steps": spec.most_steps,
        **{name: changes[0][name] for name in ("effect", "low", "high", "verdict")},
        "changes": changes,
        "actor": record.actor,
        "reason": record.reason,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }


def preview(spec: Spec) -> dict[str, Any]:
    """Return what a trial would train: at most ``launches`` trainings of ``steps`` updates."""
    return {
        "nodes": list(spec.nodes),
        "changes": [arm.label for arm in spec.arms],
        "metric": spec.metric,
        "repeats": spec.repeats,
        "at": list(spec.at),
        "steps": spec.steps,
        "most_steps": spec.most_steps,
        "launches": spec.repeats * (1 + len(spec.arms)),
    }


def lines_of_run(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Return the changes that were tried in a run, as `verdict_line`, with the ``group`` of each.

    ``nodes`` are those that its pairs begin at.
    """
    names = {group.id: group.name for group in groups.of_run(connection, run_id)}
    return [
        {
            "group": names.get(record.group_id or ""),
            "nodes": list(record.spec.nodes),
            **verdict_line(record, arm),
        }
        for record in trials.of_run(connection, run_id)
        for arm in range(len(record.spec.arms))
    ]


def verdicts_of_nodes(connection: Connection, node_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what is known of nodes' own changes that were tried, by id, as `verdict_line`."""
    known = trials.of_nodes(connection, node_ids)
    return {node_id: verdict_line(record) for node_id, record in known.items()}


def verdicts_of_run(connection: Connection, run_id: str) -> dict[str, dict[str, Any]]:
    """Return the same of all nodes of a run."""
    stands = standing(trials.of_run(connection, run_id))
    return {node_id: verdict_line(record) for node_id, record in stands.items()}


def verdict_line(record: TrialHead, arm: int = 0) -> dict[str, Any]:
    """Return what a node, a log or a lane shows of a trial: ``trial state label`` and a verdict."""
    return {"trial": record.id, "state": record.state, **_change(record, arm)}


class Reviewed(Protocol):
    """A change of a run and its trial; see `control.trials.review.Reviewed`."""

    @property
    def node(self) -> Node:
        """The node that made it."""

    @property
    def branch(self) -> str:
        """The name of its branch."""

    @property
    def trial(self) -> TrialHead | None:
        """The trial of it, if there is one."""

    @property
    def why(self) -> str:
        """Why there is none."""


def review(rows: Iterable[Reviewed]) -> dict[str, Any]:
    """Return the changes of a run with their verdicts, and how many there are of each.

    ``authors`` has the same counts by who made the changes.
    """
    listed = [review_row(row.node, row.branch, row.trial, row.why) for row in rows]
    authors = sorted({row["actor"] for row in listed})
    return {
        "changes": listed,
        **_counts(listed),
        "authors": {
            author: _counts([row for row in listed if row["actor"] == author]) for author in authors
        },
    }


def _counts(listed: Sequence[dict[str, Any]]) -> dict[str, int]:
    judged_rows = [row for row in listed if row["verdict"] is not None]
    return {
        **summary([row["verdict"] for row in judged_rows]),
        "untried": len(listed) - len(judged_rows),
    }


def review_row(node: Node, branch: str, record: TrialHead | None, why: str = "") -> dict[str, Any]:
    """Return a change of a review with its verdict; ``why`` it has none."""
    verdict = None if record is None else _change(record, 0)
    known = verdict or {}
    return {
        "node": node.id,
        "branch": branch,
        "step": node.step,
        "changes": [change.as_dict() for change in node.changes],
        "text": labels.of_node(node),
        "actor": node.actor,
        "trial": None if record is None else record.id,
        "state": None if record is None else record.state,
        **{name: known.get(name) for name in ("effect", "low", "high", "verdict", "words")},
        "pairs": known.get("pairs", 0),
        "more": known.get("more"),
        "why": why or known.get("why") or (record.error if record else "") or None,
    }


def _change(record: TrialHead, arm: int) -> dict[str, Any]:
    spec, current = record.spec, shown(record, arm)
    is_pending = record.verdicts[arm] is None and record.state == RUNNING
    return {
        "label": spec.arms[arm].label,
        "settings": spec.arms[arm].settings,
        **current.as_dict(),
        "verdict": PENDING if is_pending else current.verdict,
        "words": PENDING if is_pending else WORDS[current.verdict],
        "coverage": 1 - current.level,
    }


def _pair(pair: Pair, names: Mapping[str, str]) -> dict[str, Any]:
    control, changed = pair.sides[0] if pair.sides else None, _values(pair.sides[1:])
    first = pair.difference(0) if len(pair.sides) > 1 else None
    return {
        "number": pair.number,
        "node": pair.node,
        "step": pair.step,
        "seed": pair.seed,
        "control": None if control is None else control.value,
        "changed": changed[0] if changed else None,
        "difference": None if first is None else first.value,
        "values": [None if control is None else control.value, *changed],
        "sides": [None if side is None else _side(side, names) for side in pair.sides],
    }


def _values(sides: Sequence[Side | None]) -> list[float | None]:
    return [None if side is None else side.value for side in sides]


def _side(side: Side, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "branch": names.get(side.branch_id),
        "launch": side.launch or None,
        "state": side.state,
        "value": side.value,
        "digest": side.digest or None,
        "error": side.error or None,
    }

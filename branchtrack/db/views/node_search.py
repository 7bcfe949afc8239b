"""Nodes of all runs that a query matches, the newest first.

What is known of a branch decides first: branches of which a query cannot hold are not read. The
rest is read in batches, so that a search ends with its last match. What lies in the trash is not
found; branches that failed are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, ColumnElement, Connection, select, true

from branchtrack.core import lifecycle
from branchtrack.core.queries import evaluation, terms
from branchtrack.core.queries.evaluation import Facts
from branchtrack.core.queries.language import moment
from branchtrack.core.queries.terms import Curve, Term
from branchtrack.core.records import Node
from branchtrack.db import segments as segment_rows
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import (
    branches,
    checkpoints,
    groups,
    nodes,
    runs,
    segments,
)
from branchtrack.db.views import branch_values, tree_outline

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
#: Nodes that are decoded at a time.
_BATCH = 500
_READ = tuple(
    nodes.c[name]
    for name in "seq id branch_id step kind actor tags created_at settings metrics".split()
)
#: Of a segment, what takes long to read and does not tell its status.
_BULK: dict[str, Any] = {"declared": [], "settings": {}, "script": None, "offers": {}}
_BULK |= {"error": None, "saves": None, "environment": None, "code": None}
_NARROW = tuple(column for column in segments.c if column.name not in _BULK)


@dataclass(frozen=True)
class Match:
    """A node, the names of its run and branch, the branch's status, what its checkpoint was
    thinned to."""

    node: Node
    run: str
    branch: str
    status: str
    thinned: str | None


@dataclass(frozen=True)
class Matches:
    """The newest matches; ``next`` is the ``before`` of those that follow, None after the last."""

    matches: tuple[Match, ...]
    next: int | None


def search(connection: Connection, query: Term, limit: int, before: int | None = None) -> Matches:
    """Return at most ``limit`` nodes that a query matches, with ``seq < before`` if it is given."""
    by_branch = _branches(connection, query, time.time())
    conditions = _conditions(query, by_branch, time.time())
    if before is not None:
        conditions.append(nodes.c.seq < before)
    matching: list[tuple[int, str, str]] = []
    for row in _rows(connection, conditions):
        facts = by_branch.get(row.branch_id)
        if facts is not None and evaluation.holds(query, _with_node(facts, row)):
            matching.append((row.seq, row.id, row.branch_id))
            if len(matching) > limit:
                break
    shown = matching[:limit]
    records = tree_outline.nodes_by_id(connection, [node_id for _seq, node_id, _branch in shown])
    thinned = _thinned(connection, [record.state_digest for record in records.values()])
    matches = (
        _match(records[node_id], by_branch[branch_id], thinned)
        for _seq, node_id, branch_id in shown
        if node_id in records
    )
    return Matches(tuple(matches), shown[-1][0] if len(matching) > limit else None)


def _match(node: Node, facts: Facts, thinned: Mapping[str, str]) -> Match:
    run, branch, status = (facts.texts[name] or "" for name in ("run", "branch", "status"))
    return Match(node, run, branch, status, thinned.get(node.state_digest))


def _thinned(connection: Connection, digests: Sequence[str]) -> dict[str, str]:
    """Return what is left of those checkpoints of which not all is."""
    left: dict[str, str] = {}
    for first in range(0, len(digests), _CHUNK):
        query = select(checkpoints.c.digest, checkpoints.c.thinned).where(
            checkpoints.c.digest.in_(digests[first : first + _CHUNK]),
            checkpoints.c.thinned.is_not(None),
        )
        left |= {row.digest: row.thinned for row in connection.execute(query)}
    return left


def _rows(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> Iterator[Any]:
    """Yield the rows of nodes, the newest first, in batches read one after the other."""
    last = None
    while True:
        below = true() if last is None else nodes.c.seq < last
        query = select(*_READ).where(*conditions, below).order_by(nodes.c.seq.desc())
        rows = connection.execute(query.limit(_BATCH)).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        last = rows[-1].seq


def _with_node(facts: Facts, row: Any) -> Facts:
    return Facts(
        facts.now,
        {**facts.texts, "kind": row.kind, "actor": row.actor},
        facts.tags | frozenset(row.tags) if row.tags else facts.tags,
        True,
        row.step,
        row.created_at,
        row.settings,
        row.metrics or {},
        facts.curves,
    )


def _conditions(
    query: Term, by_branch: Mapping[str, Facts], now: float
) -> list[ColumnElement[bool]]:
    """Return what a statement can decide of a query by itself."""
    conditions: list[ColumnElement[bool]] = []
    if len(by_branch) <= _CHUNK:
        conditions.append(nodes.c.branch_id.in_(list(by_branch)))
    for term in terms.required(query):
        begin = moment(term.value, now) if term.word == "since" else None
        if begin is not None:
            conditions.append(nodes.c.created_at >= begin)
        if term.word == "kind":
            conditions.append(nodes.c.kind == term.value)
    return conditions


def _branches(connection: Connection, query: Term, now: float) -> dict[str, Facts]:
    """Return what is known of each branch of which the query may hold, by the branch's id."""
    names = [term.value for term in terms.required(query) if term.word == "run"]
    exact = [runs.c.name == name for name in names if "*" not in name]
    statement = (
        select(branches, runs.c.name, runs.c.tags, runs.c.archived_at, groups.c.name, *_NARROW)
        .join(runs, runs.c.id == branches.c.run_id)
        .outerjoin(groups, groups.c.id == branches.c.group_id)
        .outerjoin(segments, segments.c.id == branches.c.segment_id)
        .where(visibility.RUNS, visibility.BRANCHES, *exact)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    rows = connection.execute(statement).all()
    curves = branch_values.of_branches(connection, terms.curves(query))
    of_each = ((row.branches_id, _facts(row, curves.get(row.branches_id), now)) for row in rows)
    return {key: facts for key, facts in of_each if evaluation.holds(query, facts) is not False}


def _facts(row: Any, curves: Mapping[Curve, float] | None, now: float) -> Facts:
    texts = {
        "run": row.runs_name,
        "branch": row.branches_name,
        "status": _status(row, now),
        "group": row.groups_name,
        "archived": "no" if row.runs_archived_at is row.branches_archived_at is None else "yes",
    }
    tags = frozenset([*(row.branches_tags or ()), *(row.runs_tags or ())])
    return Facts(now, texts, tags, all_tags=False, curves=curves or {})


def _status(row: Any, now: float) -> str:
    if row.segments_id is None:
        return "empty"
    values = {column.name: row._mapping[f"segments_{column.name}"] for column in _NARROW}
    segment = segment_rows.record({**values, **_BULK})
    return lifecycle.shown(lifecycle.segment_status(segment, now))

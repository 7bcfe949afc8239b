"""Branches that an order would train again: the same state, the same settings, the same mode.

Only reads: the launches of one run, and few rows by their keys, however many nodes it has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from branchtrack.core import lifecycle
from branchtrack.core.builtin_settings import DIRECTIVES
from branchtrack.core.records import Branch, Node
from branchtrack.db import runs, segments
from branchtrack.db.browsing.summaries import finite_or_none
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import branches, launches, nodes
from branchtrack.db.views import run_curves

#: The metrics of which the first that a branch has says how good it is.
_LOSSES = ("eval_loss", "loss")
_MOST = 5


@dataclass(frozen=True)
class IdenticalBranch:
    """A branch with its status, and its lowest loss (None if it has none)."""

    name: str
    status: str
    metric: str
    best: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"branch": self.name, "status": self.status, self.metric: self.best}


def identical_branches(
    connection: Connection, node: Node, overrides: Mapping[str, Any], mode: str
) -> list[IdenticalBranch]:
    """Return the branches, five at most, that trained from the same state in the same way."""
    settings = _settings(node.settings, overrides)
    meant = _directives(overrides)
    same_start = (
        select(launches.c.branch_id, launches.c.overrides, launches.c.node_id)
        .join(nodes, nodes.c.id == launches.c.node_id)
        .where(
            launches.c.run_id == node.run_id,
            launches.c.mode == mode,
            nodes.c.state_digest == node.state_digest,
        )
        .order_by(launches.c.seq.desc())
    )
    starts: dict[str, dict[str, Any]] = {node.id: node.settings}
    branch_ids: list[str] = []
    if mode == "exact" and settings == node.settings and not meant:
        # The branch of the node has trained on from it by itself.
        branch = runs.get_branch(connection, node.branch_id)
        branch_ids += [branch.id] if branch.head_id != node.id else []
    for row in connection.execute(same_start):
        if _directives(row.overrides) != meant or row.branch_id in branch_ids:
            continue
        if row.node_id not in starts:
            query = select(nodes.c.settings).where(nodes.c.id == row.node_id)
            starts[row.node_id] = connection.execute(query).scalar_one()
        if _settings(starts[row.node_id], row.overrides) == settings:
            branch_ids.append(row.branch_id)
        if len(branch_ids) == _MOST:
            break
    return _described(connection, branch_ids)


def _described(connection: Connection, branch_ids: list[str]) -> list[IdenticalBranch]:
    """Return the branches of those ids that still exist, in that order."""
    query = select(branches).where(branches.c.id.in_(branch_ids), visibility.BRANCHES)
    rows = connection.execute(query)
    records = {row.id: Branch(**row._mapping) for row in rows}
    return [_branch(connection, records[key]) for key in branch_ids if key in records]


def _branch(connection: Connection, branch: Branch) -> IdenticalBranch:
    if branch.segment_id is None:
        return IdenticalBranch(branch.name, "empty", _LOSSES[-1], None)
    segment = segments.get(connection, branch.segment_id)
    status = lifecycle.segment_status(segment, time.time())
    for metric in _LOSSES:
        extents = run_curves.series_extents(connection, [segment.id], metric).get(segment.id, ())
        minima = (finite_or_none(extent.minimum) for extent in extents)
        lowest = [minimum for minimum in minima if minimum is not None]
        if lowest:
            return IdenticalBranch(branch.name, status, metric, min(lowest))
    return IdenticalBranch(branch.name, status, _LOSSES[-1], None)


def _settings(before: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in overrides.items() if name not in DIRECTIVES}
    return {**before, **values}


def _directives(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if name in DIRECTIVES}

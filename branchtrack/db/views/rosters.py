"""Runs with all their branches, and where each segment begins, in one statement.

Only reads. It knows names and whole ids; `runs` and `nodes` look up what is named in other ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, Connection, Row, Select, and_, or_, select

from branchtrack.core.names import storable
from branchtrack.core.records import Branch, Run
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import branches, groups, nodes, runs, segments

_origins = nodes.alias("origins")
_named = nodes.alias("named_nodes")


@dataclass
class Roster:
    """Runs and their branches by id, branches in order of creation and with those in the trash.

    ``starts`` and ``codes`` are by segment: the (segment, step) of the node at which it starts,
    None for a root's, and what ran in its process, if that was recorded. ``groups`` has the names
    of groups by id, ``group_kinds`` their kinds, ``branch_ids`` the branch of each node that was
    asked for.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    branches: dict[str, Branch] = field(default_factory=dict)
    starts: dict[str, tuple[str, int] | None] = field(default_factory=dict)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    group_kinds: dict[str, str] = field(default_factory=dict)
    branch_ids: dict[str, str] = field(default_factory=dict)

    def run(self, ref: str) -> Run | None:
        """Return the run of that name or id."""
        named = (run for run in self.runs.values() if run.name == storable(ref))
        return next(named, self.runs.get(ref))

    def branch(self, run: Run, name: str) -> Branch | None:
        """Return the run's branch of that name, unless it is in the trash."""
        return next((branch for branch in self._listed(run) if branch.name == name), None)

    def members(self, run: Run, group: str) -> list[Branch]:
        """Return the branches of the run's group of that name that are not in the trash."""
        return [
            branch
            for branch in self._listed(run)
            if self.groups.get(branch.group_id or "") == group
        ]

    def _listed(self, run: Run) -> list[Branch]:
        every = self.branches.values()
        return [each for each in every if each.run_id == run.id and each.trashed_at is None]


def read(
    connection: Connection,
    run_refs: Iterable[str],
    node_ids: Iterable[str] = (),
    roster: Roster | None = None,
) -> Roster:
    """Return the runs of those names or ids, and those of the nodes, added to ``roster`` if given.

    What does not exist, and runs in the trash, are not in it.
    """
    roster = roster or Roster()
    for row in connection.execute(_query([*map(storable, run_refs)], [*node_ids])):
        _add(roster, row)
    return roster


def _query(run_refs: list[str], node_ids: list[str]) -> Select[Any]:
    of_nodes = select(nodes.c.run_id).where(nodes.c.id.in_(node_ids))
    named = or_(runs.c.name.in_(run_refs), runs.c.id.in_(run_refs), runs.c.id.in_(of_nodes))
    return (
        select(
            runs,
            branches,
            segments.c.id,
            segments.c.code,
            _origins.c.segment_id.label("origin"),
            _origins.c.step.label("origin_step"),
            groups.c.name.label("group_name"),
            groups.c.kind.label("group_kind"),
            _named.c.id.label("node"),
            _named.c.branch_id.label("node_branch"),
        )
        .outerjoin(branches, branches.c.run_id == runs.c.id)
        .outerjoin(groups, groups.c.id == branches.c.group_id)
        .outerjoin(segments, segments.c.branch_id == branches.c.id)
        .outerjoin(_origins, _origins.c.id == segments.c.start_node_id)
        .outerjoin(_named, and_(_named.c.segment_id == segments.c.id, _named.c.id.in_(node_ids)))
        .where(named, visibility.RUNS)
        .order_by(runs.c.id, branches.c.position, segments.c.position)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )


def _add(roster: Roster, row: Row[Any]) -> None:
    if row.runs_id not in roster.runs:
        roster.runs[row.runs_id] = Run(**{c.name: row._mapping[c] for c in runs.c})
    if row.branches_id is not None and row.branches_id not in roster.branches:
        branch = Branch(**{c.name: row._mapping[c] for c in branches.c})
        roster.branches[branch.id] = branch
        if branch.group_id is not None and row.group_name is not None:
            roster.groups[branch.group_id] = row.group_name
            roster.group_kinds[branch.group_id] = row.group_kind
    if row.segments_id is not None:
        start = None if row.origin is None else (row.origin, row.origin_step)
        roster.starts[row.segments_id] = start
        if row.segments_code is not None:
            roster.codes[row.segments_id] = row.segments_code
    if row.node is not None:
        roster.branch_ids[row.node] = row.node_branch

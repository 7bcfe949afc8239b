"""Which branches of a run depend on which: a branch needs those that its nodes come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, and_, or_, select

from branchtrack.core.records import Branch
from branchtrack.db import runs
from branchtrack.db.tables import nodes

#: For each branch (by id) those that its nodes have parents on.
Dependencies = Mapping[str, set[str]]


def of_run(connection: Connection, run_id: str) -> Dependencies:
    """Return the dependencies of a run's branches, those in the trash included."""
    parents = nodes.alias("parents")
    query = (
        select(nodes.c.branch_id, parents.c.branch_id)
        .join(
            parents, or_(parents.c.id == nodes.c.parent_id, parents.c.id == nodes.c.merge_parent_id)
        )
        .where(and_(nodes.c.run_id == run_id, nodes.c.branch_id != parents.c.branch_id))
        .distinct()
    )
    needed: dict[str, set[str]] = {}
    for branch_id, parent_branch_id in connection.execute(query):
        needed.setdefault(branch_id, set()).add(parent_branch_id)
    return needed


def above(needed: Dependencies, branch_ids: Iterable[str]) -> set[str]:
    """Return the branches and all that they depend on."""
    reached, waiting = set[str](), list(branch_ids)
    while waiting:
        branch_id = waiting.pop()
        if branch_id not in reached:
            reached.add(branch_id)
            waiting += needed.get(branch_id, ())
    return reached


def below(needed: Dependencies, branch_ids: Iterable[str]) -> set[str]:
    """Return the branches and all that depend on them."""
    dependents: dict[str, set[str]] = {}
    for branch_id, parents in needed.items():
        for parent in parents:
            dependents.setdefault(parent, set()).add(branch_id)
    return above(dependents, branch_ids)


def chosen(connection: Connection, run_id: str, branch_ids: set[str]) -> list[Branch]:
    """Return the branches of those ids in the order they were created."""
    return [branch for branch in runs.list_branches(connection, run_id) if branch.id in branch_ids]

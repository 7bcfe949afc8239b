"""Whether the rows of a bundle belong together: one run, each row once, no reference to nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Table, UniqueConstraint

from branchtrack.bundles import shapes
from branchtrack.bundles.rows import LOCAL, TABLES

#: What rows refer to: column, and the table whose rows it names, which come before them.
_REFERENCES: dict[str, tuple[tuple[str, str], ...]] = {
    "segments": (("branch_id", "branches"),),
    "nodes": (
        ("branch_id", "branches"),
        ("segment_id", "segments"),
        ("parent_id", "nodes"),
        ("state_digest", "checkpoints"),
    ),
    "requests": (("branch_id", "branches"), ("segment_id", "segments"), ("node_id", "nodes")),
    "launches": (("node_id", "nodes"),),
    "certificates": (
        ("branch_id", "branches"),
        ("from_node_id", "nodes"),
        ("to_node_id", "nodes"),
    ),
    "metric_series": (("segment_id", "segments"),),
    "metric_points": (("series_id", "metric_series"),),
    "metric_blocks": (("series_id", "metric_series"),),
}
#: Rows that need another to refer to them: nothing else says that they are the run's.
_OWNED = {"checkpoints": ("nodes", "state_digest")}


class Checks:
    """The rows seen so far, by what makes each the only one."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._seen: dict[tuple[str, tuple[str, ...]], set[tuple[Any, ...]]] = defaultdict(set)
        self._ids: dict[str, set[Any]] = defaultdict(set)
        self._named: dict[str, set[Any]] = defaultdict(set)
        self._default_branch = ""
        self._branches: dict[str, dict[str, Any]] = {}
        self._branch_of: dict[str, str] = {}

    def fault(self, name: str, row: dict[str, Any]) -> str:
        """Return what is wrong with the next row of a table, or an empty text."""
        if why := shapes.fault(name, row):
            return f"it has a row of {name} whose {why}"
        if row.get("run_id", self._run_id) != self._run_id:
            return f"it has a row of {name} that belongs to another run"
        for columns in _unique(TABLES[name]):
            key = tuple(row[column] for column in columns)
            if None not in key and key in self._seen[name, columns]:
                return f"it has a row of {name} twice: {', '.join(map(str, key))[:80]}"
            self._seen[name, columns].add(key)
        for column, target in _REFERENCES.get(name, ()):
            if row[column] is not None and row[column] not in self._ids[target]:
                return f"it has a row of {name} whose {column} is not in it"
        for target, (owner, column) in _OWNED.items():
            if owner == name:
                self._named[target].add(row[column])
        if name == "runs":
            self._default_branch = row["default_branch"]
        if name == "branches":
            self._branches[row["name"]] = row
        if name in ("nodes", "segments"):
            self._branch_of[row["id"]] = row["branch_id"]
        self._ids[name].add(row.get("id", row.get("digest")))
        return ""

    def missing(self) -> str:
        """Return what is wrong with all rows together, or an empty text."""
        for target in _OWNED:
            if self._ids[target] != self._named[target]:
                return f"it has a row of {target} that belongs to none of its nodes"
        if len(self._ids["runs"]) != 1:
            return "it does not have exactly one run"
        if self._branches and self._default_branch not in self._branches:
            return "its run has no branch of the name that its default branch has"
        for name, row in self._branches.items():
            ends = (row.get("head_id"), row.get("segment_id"))
            if any(end is not None and self._branch_of.get(end) != row["id"] for end in ends):
                return f"the last node or segment of its branch {name} is not of that branch"
            start = row.get("start_node_id")
            if start is not None and start not in self._ids["nodes"]:
                return f"its branch {name} starts at a node that is not in it"
        return ""


def _unique(table: Table) -> list[tuple[str, ...]]:
    """Return the columns of each key of a table, but for keys that each database makes itself."""
    keys = [tuple(column.name for column in table.primary_key)]
    keys += [
        tuple(column.name for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    keys += [tuple(c.name for c in index.columns) for index in table.indexes if index.unique]
    local = LOCAL.get(table.name, frozenset())
    return [key for key in keys if not local.intersection(key)]

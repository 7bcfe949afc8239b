"""JSON forms of the trash, and of what a deletion takes along."""

from __future__ import annotations

from typing import Any

from branchtrack.analysis.payloads_audit import moment
from branchtrack.core.records import Branch
from branchtrack.db.deletion.trash import Entry


def entry(item: Entry, due: float) -> dict[str, Any]:
    """Return an entry of the trash; ``due`` is when it is purged, in seconds since 1970."""
    return {
        "id": item.id,
        "kind": "branch" if item.branches else "run",
        "name": item.name,
        "run": item.run.name,
        "branches": [branch.name for branch in item.branches],
        "nodes": item.nodes,
        "deleted_at": moment(item.trashed_at),
        "deleted_by": item.actor,
        "reason": item.reason,
        "purged_at": moment(due),
    }


def deletion(name: str, branches: tuple[Branch, ...], nodes: int) -> dict[str, Any]:
    """Return what is deleted, or restored, under one name."""
    return {"name": name, "branches": [branch.name for branch in branches], "nodes": nodes}

"""Names, tags and notes that people give to runs, branches and nodes; the archive, and pins.

An event says what was before, so that it can be undone.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Table

from branchtrack.core.names import free_name, valid_name
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import audit, runs, seals
from branchtrack.db import tables as rows
from branchtrack.errors import NameTaken

#: What can be labelled, and the table and kind of event of each.
Labelled = Run | Branch | Node
_TABLES: dict[type, tuple[Table, str]] = {
    Run: (rows.runs, "run"),
    Branch: (rows.branches, "branch"),
    Node: (rows.nodes, "label"),
}


def rename(connection: Connection, item: Run | Branch, name: str, *, actor: str, why: str) -> None:
    """Give a run or a branch another name; the default branch of a run stays that.

    Raises:
        InvalidInput: the name is not valid. NameTaken: another has it.
    """
    kind = "run" if isinstance(item, Run) else "branch"
    valid_name(name, "name")
    taken = _names_beside(connection, item)
    if name in taken:
        raise NameTaken(kind, name, free_name(name, taken))
    if isinstance(item, Branch):
        run = runs.get_run(connection, item.run_id)
        if run.default_branch == item.name:
            _write(connection, run, default_branch=name)
    change(connection, item, "renamed", actor, why, {"from": item.name, "to": name}, name=name)


def set_tags(
    connection: Connection, item: Labelled, tags: list[str], *, actor: str, why: str
) -> None:
    """Replace the tags of a run, a branch or a node."""
    payload = {"tags": tags, "before": item.tags or []}
    change(connection, item, "tagged", actor, why, payload, tags=tags)


def set_notes(
    connection: Connection, item: Run | Branch, notes: str, *, actor: str, why: str
) -> None:
    """Replace the notes of a run or a branch."""
    payload = {"notes": notes, "before": item.notes or ""}
    change(connection, item, "described", actor, why, payload, notes=notes)


def set_archived(
    connection: Connection, item: Run | Branch, archived: bool, *, actor: str, why: str
) -> None:
    """Archive a run or a branch, or take it out of the archive."""
    state = "archived" if archived else "unarchived"
    moment = time.time() if archived else None
    change(connection, item, state, actor, why, {}, archived_at=moment)


def set_pinned(
    connection: Connection, item: Run | Branch, pinned: bool, *, actor: str, why: str
) -> None:
    """Have a run or a branch stand above the others in lists, or no longer."""
    state = "pinned" if pinned else "unpinned"
    moment = time.time() if pinned else None
    change(connection, item, state, actor, why, {}, pinned_at=moment)


def _names_beside(connection: Connection, item: Run | Branch) -> set[str]:
    if isinstance(item, Branch):
        runs.lock_names(connection, item.run_id)
        return {branch.name for branch in runs.list_branches(connection, item.run_id)} - {item.name}
    return runs.names(connection) - {item.name}


def change(
    connection: Connection,
    item: Labelled,
    state: str,
    actor: str,
    why: str,
    payload: dict[str, Any],
    **values: Any,
) -> None:
    """Write ``values`` into the row of a run, a branch or a node, with its event."""
    run_id = item.id if isinstance(item, Run) else item.run_id
    audit.lock(connection, run_id)
    _write(connection, item, **values)
    audit.append(
        connection,
        run_id,
        kind=_TABLES[type(item)][1],
        ref=item.id,
        state=state,
        actor=actor,
        reason=why,
        payload=payload,
    )


def _write(connection: Connection, item: Labelled, **values: Any) -> None:
    table = _TABLES[type(item)][0]
    connection.execute(table.update().where(table.c.id == item.id).values(**values))
    seals.renew(connection, table, item.id)

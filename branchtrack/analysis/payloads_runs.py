"""Tables of runs as JSON: those that a query matches, sorted, with the values of columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis.payloads_audit import moment
from branchtrack.core.queries.columns import Fact
from branchtrack.db.browsing import run_search
from branchtrack.db.browsing.run_search import RunMatch, Selection
from branchtrack.db.views import run_list
from branchtrack.db.views.run_list import RunCounts

_NONE = RunCounts(0, 0)


def table(
    connection: Connection, selection: Selection, now: float, limit: int | None, offset: int = 0
) -> dict[str, Any]:
    """Return ``runs`` that match, ``total`` of them, ``hidden`` in the archive, and ``next``.

    ``next`` is the offset of the runs that follow, None after the last. It has to be the first that
    is done with the connection.
    """
    matches = run_search.search(connection, selection, now, limit, offset)
    counted = run_list.counts(connection, [match.run.id for match in matches.runs])
    following = offset + len(matches.runs)
    return {
        "runs": [
            _line(match, counted.get(match.run.id, _NONE), selection) for match in matches.runs
        ],
        "total": matches.total,
        "hidden": matches.hidden,
        "next": following if following < matches.total else None,
    }


def _line(match: RunMatch, counts: RunCounts, selection: Selection) -> dict[str, Any]:
    run = match.run
    values = {
        str(column): value for column, value in match.values.items() if not isinstance(column, Fact)
    }
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
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

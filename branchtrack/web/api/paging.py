"""Pages of a list that is in memory as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.errors import InvalidInput


def page(
    name: str, rows: Sequence[dict[str, Any]], key: str, limit: int, **cursor: str | None
) -> dict[str, Any]:
    """Return the rows after the one that a cursor names, as ``name total next``.

    ``cursor`` is one argument, named as in the address; its value is the ``key`` of a row, or None
    for the first page.

    Raises:
        InvalidInput: no row has that key.
    """
    ((argument, last),) = cursor.items()
    keys = [row[key] for row in rows]
    if last is not None and last not in keys:
        raise InvalidInput(argument, last, "the `next` of the page before")
    first = 0 if last is None else keys.index(last) + 1
    shown = rows[first : first + limit]
    following = shown[-1][key] if first + limit < len(rows) else None
    return {name: list(shown), "total": len(rows), "next": following}

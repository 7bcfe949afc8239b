"""Saved views: lists of runs by the part of their address after the question mark."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

from sqlalchemy import Connection, select

from branchtrack.core.names import near
from branchtrack.db.browsing.tables import saved_views
from branchtrack.db.engine import upsert
from branchtrack.errors import NotFound

#: What of an address a view keeps, in the words of the shell.
PARTS = {"q": "query", "sort": "sort", "columns": "columns", "by": "by"}
#: Names that are listed where one is unknown.
_NAMED = 20


@dataclass(frozen=True)
class SavedView:
    """A list of runs under a name, and who saved it."""

    name: str
    address: str
    actor: str
    created_at: float


def every(connection: Connection) -> list[SavedView]:
    """Return all of them by name."""
    rows = connection.execute(select(saved_views).order_by(saved_views.c.name))
    return [SavedView(**row._mapping) for row in rows]


def find(connection: Connection, name: str) -> SavedView:
    """Return the view of that name.

    Raises:
        NotFound: there is none, with the names that there are.
    """
    views = {view.name: view for view in every(connection)}
    if name not in views:
        names = sorted(views)[:_NAMED]
        fix = f"These are saved: {', '.join(names)}." if names else "No view is saved."
        raise NotFound("saved view", name, near(name, views) or names[:3], fix=fix)
    return views[name]


def save(connection: Connection, name: str, address: str, actor: str) -> None:
    """Save a view, in the place of another of that name."""
    row = upsert(connection, saved_views).values(
        name=name, address=address, actor=actor, created_at=time.time()
    )
    changed = {key: row.excluded[key] for key in ("address", "actor", "created_at")}
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=changed))


def remove(connection: Connection, name: str) -> None:
    """Remove a view; do nothing if there is none of that name."""
    connection.execute(saved_views.delete().where(saved_views.c.name == name))


def parts(address: str) -> dict[str, str]:
    """Return what a view asks for: ``query sort columns by``, those of them that it has."""
    texts = dict(parse_qsl(address))
    return {word: texts[name] for name, word in PARTS.items() if texts.get(name)}

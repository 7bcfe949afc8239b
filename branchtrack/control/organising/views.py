"""Saving a list of runs under a name, and removing it: who may, and what is kept of its address."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from branchtrack.control.text import clean_text
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.db.browsing import run_search, saved_views
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput

_LONGEST_NAME = 80
_LONGEST = 2000


def save(database: Database, name: str, choices: Mapping[str, str], *, actor: Actor | str) -> str:
    """Save what a list of runs shows under a name, and return the name.

    ``choices`` are the parts of the list's address: ``q sort columns by``.

    Raises:
        InvalidInput: the name is empty or too long, or the list could not be shown.
        Forbidden: the actor may not do it.
    """
    who = _check(database, actor)
    title = " ".join(clean_text("name", name, _LONGEST_NAME).split())
    if not title:
        raise InvalidInput("name", name, f"1 to {_LONGEST_NAME} characters")
    kept = {key: choices[key].strip() for key in saved_views.PARTS if choices.get(key, "").strip()}
    address = urlencode(kept)
    texts = saved_views.parts(address)
    # First, so that a part that is too long is named, rather than the whole.
    run_search.selection(*(texts.get(part, "") for part in ("query", "sort", "by", "columns")))
    address = clean_text("view", address, _LONGEST)
    with database.transaction() as connection:
        saved_views.save(connection, title, address, who.label)
    return title


def remove(database: Database, name: str, *, actor: Actor | str) -> None:
    """Remove a saved view.

    Raises:
        NotFound: there is none of that name. Forbidden: the actor may not do it.
    """
    _check(database, actor)
    with database.transaction() as connection:
        saved_views.remove(connection, saved_views.find(connection, name).name)


def _check(database: Database, actor: Actor | str) -> Actor:
    database.check_writable()
    who = actors.of(actor)
    actors.check(who, "label", ["label"])
    return who

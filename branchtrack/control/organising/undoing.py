"""A change of labels, or a deletion, taken back: the events of the record say what was before.

Only what is still as the change left it is taken back, and only by whom it was made.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, func, select

from branchtrack.control import deletion, labels
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.records import Branch, Event, Run
from branchtrack.db import runs
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from branchtrack.db.tables import events
from branchtrack.errors import InvalidInput

#: A change is known by the numbers of its first and its last event.
_RANGE = re.compile(r"(\d{1,15})-(\d{1,15})")
_MOST = 2000
_STATES = ("renamed", "tagged", "described", "archived", "unarchived", "pinned", "unpinned")
_ALLOWED = "a change that was made just now, as pages offer it"


def newest(connection: Connection) -> int:
    """Return the number of the newest event of all runs."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def undo(database: Database, change: str, *, actor: Actor | str) -> list[Run | Branch]:
    """Take back what an actor changed with events numbered ``FIRST-LAST``.

    It returns the items that were changed, as they are now.

    Raises:
        InvalidInput: there is no such change, or something has been changed again since.
        Forbidden: the actor may not do it.
    """
    who = actors.of(actor)
    with database.read() as connection:
        made = _events(connection, change, who.label)
        for event in made:
            _check_unchanged(connection, event, made)
    for event in reversed(made):
        _take_back(database, event, who)
    with database.read() as connection:
        return [_item(connection, event) for event in {event.ref: event for event in made}.values()]


def is_offered(
    connection: Connection, change: str, actor: Actor | str, run_id: str | None = None
) -> bool:
    """Return whether ``FIRST-LAST`` is a change of that actor's, and of that run alone."""
    try:
        made = _events(connection, change, actors.of(actor).label)
    except InvalidInput:
        return False
    return all(run_id in (None, event.run_id) for event in made)


def _events(connection: Connection, change: str, actor: str) -> list[Event]:
    match = _RANGE.fullmatch(change)
    first, last = (int(number) for number in match.groups()) if match else (1, 0)
    if not 0 <= last - first < _MOST:
        raise InvalidInput("change", change[:40], _ALLOWED)
    query = select(events).where(
        events.c.id.between(first, last),
        events.c.kind.in_(("run", "branch")),
        events.c.state.in_((*_STATES, trash.DELETED)),
        events.c.actor == actor,
    )
    rows = connection.execute(query.order_by(events.c.id)).all()
    made = [Event(**row._mapping) for row in rows]
    # Events of an earlier version do not say what was before.
    texts = (event for event in made if event.state in ("tagged", "described"))
    if not made or any("before" not in event.payload for event in texts):
        raise InvalidInput("change", change, _ALLOWED)
    return made


def _item(connection: Connection, event: Event) -> Run | Branch:
    find = runs.get_run if event.kind == "run" else runs.get_branch
    return find(connection, event.ref)


def _check_unchanged(connection: Connection, event: Event, made: list[Event]) -> None:
    """Refuse an item that is not as the last of the events left it."""
    item = _item(connection, event)
    later = [e for e in made if e.ref == event.ref and _field(e) == _field(event)]
    if _present(item, event) != _after(later[-1]):
        what = f"{item.name} has been changed again since."
        raise InvalidInput("change", item.name, "what nobody has changed since", what=what)


def _field(event: Event) -> str:
    return event.state.removeprefix("un")


def _after(event: Event) -> Any:
    if event.state == "renamed":
        return event.payload["to"]
    if event.state in ("tagged", "described"):
        return event.payload["tags" if event.state == "tagged" else "notes"]
    return not event.state.startswith("un")


def _present(item: Run | Branch, event: Event) -> Any:
    field = _field(event)
    if field == "renamed":
        return item.name
    if field in ("tagged", "described"):
        return (item.tags or []) if field == "tagged" else (item.notes or "")
    moments = {"archived": item.archived_at, "pinned": item.pinned_at, "deleted": item.trashed_at}
    return moments[field] is not None


def _take_back(database: Database, event: Event, actor: Actor) -> None:
    with database.read() as connection:
        item = _item(connection, event)
    ref = item.id if isinstance(item, Run) else f"{item.run_id}/{item.name}"
    if event.state == trash.DELETED:
        if item.trashed_at is not None:
            # A branch may have come back with the one before.
            deletion.restore(database, item.id, actor=actor)
        return
    labels.label(database, ref, actor=actor, **_before(item, event))


def _before(item: Run | Branch, event: Event) -> dict[str, Any]:
    """Return the arguments of `labels.label` that bring back what was before."""
    if event.state == "renamed":
        return {"name": event.payload["from"]}
    if event.state == "described":
        return {"notes": event.payload["before"]}
    if event.state == "tagged":
        present, before = item.tags or [], event.payload["before"]
        return {
            "add": [tag for tag in before if tag not in present],
            "remove": [tag for tag in present if tag not in before],
        }
    return {_field(event): event.state.startswith("un")}

"""Renaming, tagging, describing, archiving and pinning: who may, what of, and which labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from branchtrack.control.text import clean_text
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.names import valid_name
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import labels, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NotFound

MOST_TAGS = 50


def label(
    database: Database,
    ref: str,
    *,
    actor: Actor | str,
    name: str | None = None,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    notes: str | None = None,
    archived: bool | None = None,
    pinned: bool | None = None,
    reason: str = "",
) -> Run | Branch | Node:
    """Change what people call a run, ``RUN/BRANCH`` or a node, and return it as it is then.

    ``add`` and ``remove`` are tags. All of it is done, or nothing.

    Raises:
        NotFound, Ambiguous: nothing has that name. Forbidden: the actor may not do it.
        InvalidInput: a label is not valid, or not for this. NameTaken: another has the name.
    """
    database.check_writable()
    why, who = clean_text("reason", reason), actors.of(actor)
    actors.check(who, "label", ["label"])
    actors.check_reason(who, why)
    added, removed = [valid_name(t, "tag") for t in add], [valid_name(t, "tag") for t in remove]
    with database.transaction() as connection:
        item = find(connection, ref)
        facts: dict[str, Any] = {"actor": who.label, "why": why}
        if _tags(item, added, removed) != (item.tags or []):
            labels.set_tags(connection, item, _tags(item, added, removed), **facts)
        if isinstance(item, Node):
            _refuse_for_nodes(ref, name=name, notes=notes, archived=archived, pinned=pinned)
            return nodes.get(connection, item.id)
        if notes is not None and clean_text("notes", notes) != (item.notes or ""):
            labels.set_notes(connection, item, clean_text("notes", notes), **facts)
        _set_marks(connection, item, archived, pinned, facts)
        if name is not None and name != item.name:
            labels.rename(connection, item, name, **facts)
        if isinstance(item, Run):
            return runs.get_run(connection, item.id)
        return runs.get_branch(connection, item.id)


def label_runs(
    database: Database,
    refs: Iterable[str],
    *,
    actor: Actor | str,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    archived: bool | None = None,
    pinned: bool | None = None,
) -> None:
    """Change the tags, archive and pins of several runs at once: of all, or of none.

    A tag to ``remove`` that a run does not have is no error.

    Raises:
        NotFound, Ambiguous, Forbidden, InvalidInput: as `label`, of the first at fault.
    """
    database.check_writable()
    who = actors.of(actor)
    actors.check(who, "label", ["label"])
    actors.check_reason(who, "")
    added, removed = [valid_name(t, "tag") for t in add], [valid_name(t, "tag") for t in remove]
    facts: dict[str, Any] = {"actor": who.label, "why": ""}
    with database.transaction() as connection:
        items = {run.id: run for run in (runs.find_run(connection, ref) for ref in refs)}
        for item in items.values():
            before = item.tags or []
            tags = _tags(item, added, [tag for tag in removed if tag in before])
            if tags != before:
                labels.set_tags(connection, item, tags, **facts)
            _set_marks(connection, item, archived, pinned, facts)


def _set_marks(
    connection: Connection,
    item: Run | Branch,
    archived: bool | None,
    pinned: bool | None,
    facts: dict[str, Any],
) -> None:
    if archived is not None and archived != (item.archived_at is not None):
        labels.set_archived(connection, item, archived, **facts)
    if pinned is not None and pinned != (item.pinned_at is not None):
        labels.set_pinned(connection, item, pinned, **facts)


def find(connection: Connection, ref: str) -> Run | Branch | Node:
    """Return the run of that name or id, the branch ``RUN/BRANCH``, or else the node.

    Raises:
        NotFound, Ambiguous: none, or several.
    """
    if "@" in ref:
        return nodes.find(connection, ref)
    if "/" in ref:
        return runs.find_branch(connection, ref)
    try:
        return runs.find_run(connection, ref)
    except NotFound as error:
        try:
            return nodes.find(connection, ref)
        except NotFound:
            raise error from None


def _tags(item: Run | Branch | Node, added: list[str], removed: list[str]) -> list[str]:
    before = item.tags or []
    if missing := [tag for tag in removed if tag not in before]:
        raise InvalidInput("tag", f"-{missing[0]}", ", ".join(before) or "none: it has no tags")
    tags = [tag for tag in dict.fromkeys([*before, *added]) if tag not in removed]
    if len(tags) > MOST_TAGS:
        raise InvalidInput("tag", tags[-1], f"{MOST_TAGS} tags at most")
    return tags


def _refuse_for_nodes(ref: str, **values: object) -> None:
    for field, value in values.items():
        if value is not None:
            what = f"{ref} is a node, which has tags, a message and no {field}."
            raise InvalidInput(field, value, "a run or RUN/BRANCH", what=what)

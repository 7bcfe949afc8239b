"""Compositions of shards, kept as texts: settings of nodes and segments name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from branchtrack.core.shards import composition
from branchtrack.core.shards.composition import SETTING, Composition
from branchtrack.db.storage import texts
from branchtrack.db.tables import nodes
from branchtrack.db.tables import texts as text_rows


def composition_of(connection: Connection, settings: Mapping[str, Any]) -> Composition | None:
    """Return the composition that settings name; None if there are no shards, or it is unknown."""
    value = settings.get(SETTING)
    return compositions(connection, [value]).get(value)


def compositions(connection: Connection, values: Iterable[Any]) -> dict[Any, Composition]:
    """Return the compositions that values of the setting name, by value; the known ones."""
    values = list(values)
    return of_documents(values, texts.starting(connection, beginnings(values)))


def beginnings(values: Iterable[Any]) -> set[str]:
    """Return how the digests of the documents begin that values of the setting name."""
    return set(filter(None, map(composition.reference, values)))


def of_documents(values: Iterable[Any], documents: Mapping[str, str]) -> dict[Any, Composition]:
    """Return the compositions that values name, of `documents` by the beginnings of digests."""
    references = {value: composition.reference(value) for value in values}
    known = {
        text: Composition.read(documents[text])
        for text in beginnings(references)
        if text in documents
    }
    return {
        value: composition.changed_by(value, known[reference])
        if composition.is_relative(value)
        else known[reference]
        for value, reference in references.items()
        if reference in known
    }


def digests_of_run(connection: Connection, run_id: str) -> list[str]:
    """Return the digests of the compositions that the nodes of a run name."""
    values = select(nodes.c.settings[SETTING].as_string()).where(nodes.c.run_id == run_id)
    named = {
        composition.reference(value) for value in connection.execute(values.distinct()).scalars()
    }
    beginning = func.substr(text_rows.c.digest, 1, texts.BEGINNING)
    query = select(text_rows.c.digest).where(beginning.in_(sorted(filter(None, named))))
    return sorted(connection.execute(query).scalars())

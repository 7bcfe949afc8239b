"""Compositions of shards, kept as texts: settings of nodes and segments name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.shards import composition
from branchtrack.core.shards.composition import SETTING, Composition
from branchtrack.db.storage import texts


def composition_of(connection: Connection, settings: Mapping[str, Any]) -> Composition | None:
    """Return the composition that settings name; None if there are no shards, or it is unknown."""
    value = settings.get(SETTING)
    return compositions(connection, [value]).get(value)


def compositions(connection: Connection, values: Iterable[Any]) -> dict[Any, Composition]:
    """Return the compositions that values of the setting name, by value; the known ones."""
    beginnings = {value: composition.reference(value) for value in values}
    documents = texts.starting(connection, {text for text in beginnings.values() if text})
    return {
        value: Composition.read(documents[beginning])
        for value, beginning in beginnings.items()
        if beginning in documents
    }

"""Compositions of shards, kept as texts: settings of nodes and segments name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.shards import composition
from branchtrack.core.shards.composition import SETTING, Composition
from branchtrack.db.storage import texts
from branchtrack.errors import NotFound


def composition_of(connection: Connection, settings: Mapping[str, Any]) -> Composition | None:
    """Return the composition that settings name; None if there are no shards, or it is unknown."""
    beginning = composition.reference(settings.get(SETTING))
    if beginning is None:
        return None
    try:
        return Composition.read(texts.find(connection, beginning))
    except NotFound:
        return None

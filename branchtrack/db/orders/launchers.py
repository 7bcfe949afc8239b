"""Profiles of launchers: options for jobs of clusters, by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from branchtrack.core.launchers import options as job_options
from branchtrack.core.launchers.profiles import Profile, valid_kind, valid_profile_name
from branchtrack.core.names import free_name, new_id
from branchtrack.db import seals
from branchtrack.db.engine import upsert
from branchtrack.db.orders.tables import launchers
from branchtrack.errors import NameTaken, NotFound


def add(
    connection: Connection, name: str, kind: str, options: Sequence[str], created_by: str
) -> Profile:
    """Add a profile.

    Raises:
        InvalidInput: the name, the kind or an option is not valid. NameTaken.
    """
    valid_profile_name(name)
    profile = Profile(
        id=new_id(),
        name=name,
        kind=valid_kind(kind),
        options=job_options.checked(kind, options),
        created_by=created_by,
        created_at=time.time(),
    )
    row = upsert(connection, launchers).values(**vars(profile))
    added = row.on_conflict_do_nothing().returning(launchers.c.id)
    if connection.execute(added).first() is None:
        raise NameTaken("launcher", name, free_name(name, {p.name for p in all_of(connection)}))
    seals.renew(connection, launchers, profile.id)
    return profile


def remove(connection: Connection, name: str) -> Profile:
    """Remove a profile; launches that were ordered with it keep its options.

    Raises:
        NotFound: there is none of that name.
    """
    profile = get(connection, name)
    connection.execute(launchers.delete().where(launchers.c.id == profile.id))
    seals.renew(connection, launchers, profile.id)
    return profile


def get(connection: Connection, name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(launchers).where(launchers.c.name == name)).first()
    if row is None:
        names = ", ".join(profile.name for profile in all_of(connection))
        fix = f"The launchers of this home: {names}." if names else "This home has no launchers."
        raise NotFound("launcher", name, fix=fix)
    return _record(row)


def all_of(connection: Connection) -> list[Profile]:
    """Return all profiles, by name."""
    query = select(launchers).order_by(launchers.c.name)
    return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> Profile:
    return Profile(**row._mapping)

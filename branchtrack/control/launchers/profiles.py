"""Profiles of launchers: made and removed by admins, named by everybody who may launch.

Options of a cluster's jobs are commands of a kind: no page and no request of the API can give any.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.control.text import local_actor
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.launchers import profiles
from branchtrack.core.launchers.profiles import Profile
from branchtrack.db.engine import Database
from branchtrack.db.orders import launchers
from branchtrack.errors import InvalidInput, NotFound, shown


def actor_at_shell(home: Path) -> Actor:
    """Return the user of this process: an admin of the homes that are theirs, as root is of all."""
    owner = home.stat().st_uid if home.exists() else os.geteuid()
    role = "admin" if os.geteuid() in (0, owner) else "operator"
    return Actor(local_actor(), role)


def add(
    database: Database, name: str, kind: str, options: Sequence[str], *, actor: Actor
) -> Profile:
    """Add a profile.

    Raises:
        Forbidden: the actor is no admin. InvalidInput, NameTaken: nothing was changed.
    """
    database.check_writable()
    actors.check(actor, "launchers")
    with database.transaction() as connection:
        return launchers.add(connection, name, kind, options, actor.label)


def remove(database: Database, name: str, *, actor: Actor) -> Profile:
    """Remove a profile; launches that were ordered with it keep its options.

    Raises:
        Forbidden: the actor is no admin. NotFound: there is none of that name.
    """
    database.check_writable()
    actors.check(actor, "launchers")
    with database.transaction() as connection:
        return launchers.remove(connection, name)


def named(connection: Connection, name: str | None) -> dict[str, Any] | None:
    """Return the launcher of the profile that a page or a request names; None for no name.

    Raises:
        InvalidInput: there is no such profile.
    """
    return resolved(connection, name, kinds=()) if name else None


def resolved(
    connection: Connection,
    name: str,
    options: Sequence[str] = (),
    *,
    kinds: Sequence[str] = profiles.KINDS,
) -> dict[str, Any]:
    """Return the launcher that the shell names: a profile or one of ``kinds``, and more options.

    Raises:
        InvalidInput: there is no such profile or kind, or an option cannot be given.
    """
    if name in kinds:
        return profiles.launcher(name, name, options)
    try:
        profile = launchers.get(connection, name)
    except NotFound:
        names = [profile.name for profile in launchers.all_of(connection)]
        allowed = ", ".join([*names, *kinds]) or "none: this home has no launchers"
        what = f"There is no launcher {shown(name)}."
        raise InvalidInput("on", name, allowed, what=what) from None
    return profiles.launcher(profile.name, profile.kind, [*profile.options, *options])

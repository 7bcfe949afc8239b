"""Where an order's processes can train: the workers of the home, or a profile of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from branchtrack.control.launchers import profiles
from branchtrack.core.launchers.profiles import Profile, title
from branchtrack.web.services import services

#: The field of a form that names one.
FIELD = "on"
_HERE = ("", "this home's workers")


def choices(offered: Sequence[Profile]) -> Sequence[tuple[str, str]]:
    """Return the values of the field with what people read; none if there is nothing to choose."""
    listed = [(profile.name, profile.title) for profile in offered]
    return [_HERE, *listed] if listed else []


def words(launcher: Mapping[str, Any], branches: int) -> str:
    """Return where so many branches would train: ``gpu: a job of Slurm for each branch``."""
    each = " for each branch" if branches > 1 else ""
    return f"{launcher['name']}: a job of {title(launcher['kind'])}{each}"


def chosen(form: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the launcher that a form names.

    Raises:
        InvalidInput: there is no such profile; a form cannot name anything else.
    """
    with services().database.read() as connection:
        return profiles.named(connection, form.get(FIELD, "").strip())

"""Launchers: a kind of cluster with options for its jobs, and the names that profiles may have.

A launch keeps the launcher that it was ordered with, so that what becomes of a profile later
changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core.launchers import options
from branchtrack.core.names import valid_name
from branchtrack.errors import InvalidInput

#: The kinds of clusters by name, as people call them.
TITLES = {"ray": "Ray", "slurm": "Slurm"}
KINDS = tuple(TITLES)
#: Names that mean something else where a profile is named.
_RESERVED = (*KINDS, "local", "worker", "workers")


@dataclass(frozen=True)
class Profile:
    """Options for jobs of a cluster under a name, so that nobody else has to know them."""

    id: str
    name: str
    kind: str
    options: list[str]
    created_by: str
    created_at: float

    @property
    def title(self) -> str:
        """The profile as people read it: ``gpu (Slurm)``."""
        return f"{self.name} ({title(self.kind)})"


def title(kind: str) -> str:
    """Return what a kind of cluster is called."""
    return TITLES.get(kind, kind)


def valid_kind(kind: str, field: str = "kind") -> str:
    """Return the kind of a cluster.

    Raises:
        InvalidInput: there is no such kind.
    """
    if kind not in TITLES:
        raise InvalidInput(field, kind, ", ".join(KINDS))
    return kind


def valid_profile_name(name: str) -> str:
    """Return the name of a profile.

    Raises:
        InvalidInput: it is not a valid name, or means something else.
    """
    if valid_name(name) in _RESERVED:
        raise InvalidInput("name", name, f"a name other than {', '.join(_RESERVED)}")
    return name


def launcher(name: str, kind: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what a launch keeps of its launcher: ``name kind options``.

    Raises:
        InvalidInput: an option cannot be given.
    """
    return {"name": name, "kind": kind, "options": options.checked(kind, arguments)}

"""Names and ids: valid names of runs and branches, and how ids are made and recognised."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from branchtrack.errors import InvalidInput, printable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_PREFIX = re.compile(r"[0-9a-f]{4,16}")
#: Characters of a metric's name: what PostgreSQL can index in any script.
LONGEST_METRIC = 500
NAME_RULE = "1 to 80 letters, digits or . _ + -, the first a letter or digit"


def new_id() -> str:
    """Return a fresh id: 16 hex characters."""
    return secrets.token_hex(8)


def is_id_prefix(text: str) -> bool:
    """Return whether ``text`` could be an id or a prefix of one (four characters or more)."""
    return _PREFIX.fullmatch(text) is not None


def valid_name(name: object, field: str = "name") -> str:
    """Return ``name`` if it is valid for a run or branch.

    Raises:
        InvalidInput: it is not text, or does not fit the rule for names.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(field, name, NAME_RULE)
    return name


def storable(text: str) -> str:
    """Return text as every database can hold it: no NUL, no lone surrogate."""
    return printable(text)


def as_name(text: str, fallback: str) -> str:
    """Turn free text into a valid name."""
    cleaned = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("._+-")[:70]
    return cleaned or fallback


def free_name(preferred: str, taken: Collection[str]) -> str:
    """Return ``preferred``, or with the first number appended that makes it free: ``main-2``."""
    name, number = preferred, 2
    while name in taken:
        name, number = f"{preferred[:76]}-{number}", number + 1
    return name


def near(name: str, names: Iterable[str]) -> list[str]:
    """Return up to three known names that resemble ``name``."""
    return get_close_matches(name, list(names), n=3, cutoff=0.5)

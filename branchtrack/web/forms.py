"""Posted forms made into values: only what was really changed counts as a change.

It knows neither pages nor processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.web.formats import setting as written

#: What a form's fields for settings are called: ``set.lr``.
PREFIX = "set."


def changed_settings(
    form: Mapping[str, str], known: Mapping[str, Setting], current: Mapping[str, Any]
) -> dict[str, str]:
    """The settings whose field no longer says what is in force, as typed.

    An emptied field is no change. Whether a value is allowed is for others to say.
    """
    changed = {}
    for name in known:
        typed = form.get(PREFIX + name, "").strip()
        if (
            typed
            and typed != written(current.get(name))
            and not _equal(known[name], typed, current.get(name))
        ):
            changed[name] = typed
    return changed


def problems(values: Mapping[str, str], known: Mapping[str, Setting]) -> dict[str, InvalidInput]:
    """What is wrong with each of the values, all at once rather than one after the other."""
    found = {}
    for name, value in values.items():
        try:
            known[name].validate(value)
        except InvalidInput as error:
            found[name] = error
    return found


def _equal(known: Setting, typed: str, current: Any) -> bool:
    try:
        return bool(known.validate(typed) == current)
    except InvalidInput:
        return False

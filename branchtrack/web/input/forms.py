"""Posted forms made into what is asked for: only what was really changed counts as a change.

Nothing in a form is passed over: what nobody understands is left in, for `control` to refuse. It
knows neither pages nor processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.formats import exact_setting as written
from branchtrack.core.interventions import INTERVENTIONS, has_settings
from branchtrack.core.preconditions import NAMES as CONDITIONS
from branchtrack.core.settings import Setting, parse_assignments
from branchtrack.errors import InvalidInput

#: What a form's fields are called: for settings ``set.lr``, for arguments of actions ``arg.soft``.
PREFIX = "set."
#: What the field of a setting said when the form was made.
BEFORE = "was."
ARGUMENT = "arg."
#: Fields that say nothing where they are empty.
_OPTIONAL = ("name", "message", "values", *CONDITIONS)


def intervention(
    form: Mapping[str, str], settings: Mapping[str, Setting], current: Mapping[str, Any]
) -> dict[str, Any]:
    """What a steering form asks for, as `control.submit` takes it.

    Raises:
        InvalidInput: settings that are not written as name=value.
    """
    rest = {
        name: text
        for name, text in form.items()
        if not name.startswith((PREFIX, BEFORE, ARGUMENT))
        and name not in ("reason", *CONDITIONS)
        and not (name in _OPTIONAL and not text.strip())
    }
    payload: dict[str, Any] = {**rest, "kind": form.get("kind", "")}
    if has_settings(payload["kind"]):
        payload["values"] = changed_settings(form, settings, current)
    elif "values" in payload:
        payload["values"] = _pairs(payload["values"])
    model = INTERVENTIONS.get(payload["kind"])
    if model is not None and "arguments" in model.options():
        payload["arguments"] = {
            name.removeprefix(ARGUMENT): text
            for name, text in form.items()
            if name.startswith(ARGUMENT) and text.strip()
        }
    return payload


def conditions(form: Mapping[str, str]) -> dict[str, Any]:
    """Under what conditions, as `control.submit` takes them.

    Raises:
        InvalidInput: settings that are not written as name=value.
    """
    texts = {name: form.get(name, "").strip() for name in CONDITIONS}
    filled: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if "only_if" in filled:
        filled["only_if"] = _pairs(filled["only_if"])
    return filled


def changed_settings(
    form: Mapping[str, str], settings: Mapping[str, Setting], current: Mapping[str, Any]
) -> dict[str, str]:
    """The settings whose field no longer says what it did, nor what is in force, as typed.

    An emptied field is no change; nor is one that nobody has touched while another changed the
    setting. Whether a value is allowed is for others to say.
    """
    changed = {}
    for field, text in form.items():
        name, typed = field.removeprefix(PREFIX), text.strip()
        if not field.startswith(PREFIX) or typed in ("", form.get(BEFORE + name)):
            continue
        if typed == written(current.get(name)):
            continue
        if name not in settings or not _equal(settings[name], typed, current.get(name)):
            changed[name] = typed
    return changed


def problems(values: Mapping[str, str], settings: Mapping[str, Setting]) -> dict[str, InvalidInput]:
    """What is wrong with each of the values, all at once rather than one after the other."""
    errors = {}
    for name, value in values.items():
        try:
            if name in settings:
                settings[name].validate(value)
        except InvalidInput as error:
            errors[name] = error
    return errors


def _pairs(text: str) -> dict[str, str]:
    """``name=value`` on lines of their own, as a mapping."""
    return parse_assignments(line for line in text.splitlines() if line.strip())


def _equal(setting: Setting, typed: str, current: Any) -> bool:
    try:
        return bool(setting.validate(typed) == current)
    except InvalidInput:
        return False

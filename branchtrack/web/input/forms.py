"""Posted forms, made into requests: only values that were really changed count as changes.

No field of a form is ignored: unknown ones are passed on, for `control` to refuse. It knows neither
pages nor processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from branchtrack.core import formats
from branchtrack.core.forks.relative_values import is_relative, resolved
from branchtrack.core.forks.value_lists import listed
from branchtrack.core.interventions import INTERVENTIONS, has_settings
from branchtrack.core.preconditions import NAMES as CONDITIONS
from branchtrack.core.settings import Setting, parse_assignments
from branchtrack.core.shards.composition import parse_weights
from branchtrack.errors import InvalidInput

#: Prefixes of a form's fields: ``set.lr`` is a setting, ``arg.soft`` an argument of an action.
PREFIX = "set."
#: The button of a pause that frees the machine.
PAUSE_FREE = "pause-free"
#: Prefixes of the value that a setting's field had when the form was made, and of the last one
#: that its page showed in it.
BEFORE, SHOWN = "was.", "now."
ARGUMENT = "arg."
#: Button of a relative value: ``lr=x0.5``.
QUICK = "quick"
#: Hidden field of a form that orders: it is another one each time that the form is rendered.
KEY = "key"
#: Fields that have no meaning if they are empty.
_OPTIONAL = ("name", "message", "values", "add", "remove", "weights", *CONDITIONS)


def intervention(
    form: Mapping[str, str], settings: Mapping[str, Setting], current: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the intervention of a steering form, in the form that `control.submit` takes.

    Raises:
        InvalidInput: settings that are not written as name=value.
    """
    rest = {
        name: text
        for name, text in form.items()
        if not name.startswith((PREFIX, BEFORE, SHOWN, ARGUMENT))
        and name not in ("reason", *CONDITIONS)
        and not (name in _OPTIONAL and not text.strip())
    }
    payload: dict[str, Any] = {**rest, "kind": form.get("kind", "")}
    if payload["kind"] == PAUSE_FREE:
        payload |= {"kind": "pause", "free": True}
    if has_settings(payload["kind"]):
        payload["values"] = changed_settings(form, settings, current)
    elif "values" in payload:
        payload["values"] = _pairs(payload["values"])
    if payload["kind"] == "data":
        payload |= _shards(form)
    model = INTERVENTIONS.get(payload["kind"])
    if model is not None and "arguments" in model.options():
        payload["arguments"] = {
            name.removeprefix(ARGUMENT): text
            for name, text in form.items()
            if name.startswith(ARGUMENT) and text.strip()
        }
    return payload


def order_id(form: Mapping[str, str], *about: str) -> str | None:
    """Return the id of what a form orders: the same if the same form is sent again as it is.

    ``about`` says what else the order depends on, such as who orders. A form without a key has
    none: two that are alike are two orders.
    """
    if not form.get(KEY):
        return None
    text = json.dumps([about, sorted(form.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pressed(form: Mapping[str, str], **more: str) -> Mapping[str, str]:
    """Return a form with the value of the relative button that was pressed, if one was.

    Whatever was typed into the field of its setting is replaced; all other fields count as usual.
    ``more`` are fields that the button stands for, too.
    """
    if QUICK not in form:
        return form
    name, _, value = form[QUICK].partition("=")
    others = {key: text for key, text in form.items() if key != QUICK}
    return {**others, **more, PREFIX + name: value}


def conditions(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions of a form, in the form that `control.submit` takes.

    Raises:
        InvalidInput: settings that are not written as name=value.
    """
    texts = {name: form.get(name, "").strip() for name in CONDITIONS}
    filled: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if "only_if" in filled:
        filled["only_if"] = _pairs(filled["only_if"], "only_if")
    return filled


def written(value: Any) -> str:
    """Return a setting as its field has it: as it would be typed, and empty without a value.

    Numbers have six digits; a field that still has them is no change.
    """
    return formats.typed(value)


def touched(form: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in the fields of settings that a reader typed into, by setting."""
    fields = {
        field.removeprefix(PREFIX): text.strip()
        for field, text in form.items()
        if field.startswith(PREFIX)
    }
    return {
        name: typed
        for name, typed in fields.items()
        if typed not in (form.get(BEFORE + name), form.get(SHOWN + name))
    }


def changed_settings(
    form: Mapping[str, str], settings: Mapping[str, Setting], current: Mapping[str, Any]
) -> dict[str, str]:
    """Return the settings whose fields changed and differ from the value in use, as typed.

    An emptied field is no change, except of a text, which may be empty; nor is an untouched one
    whose setting has changed meanwhile. Whether a value is allowed is checked elsewhere.
    """
    changed = {}
    for name, typed in touched(form).items():
        if not typed and not (name in settings and settings[name].dtype == "str"):
            continue
        if typed == written(current.get(name)):
            continue
        if name not in settings or not _equal(settings[name], typed, current.get(name)):
            changed[name] = typed
    return changed


def problems(
    values: Mapping[str, str],
    settings: Mapping[str, Setting],
    current: Mapping[str, Any],
    step: int,
) -> dict[str, InvalidInput]:
    """Return the errors of all values at once, rather than one after the other.

    A field may hold a list of values, and values relative to the ``current`` ones at ``step``.
    """
    errors = {}
    for name, value in values.items():
        try:
            for text in listed(settings.get(name), value) if name in settings else ():
                absolute = resolved({name: text}, settings, current, step)
                settings[name].validate(absolute[name])
        except InvalidInput as error:
            errors[name] = error
    return errors


def _shards(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a change of shards that were filled in.

    Raises:
        InvalidInput: they are not written as name=value, or a weight is no number.
    """
    names = [name.strip() for name in form.get("remove", "").split(",")]
    fields = {
        "add": _pairs(form.get("add", ""), "add"),
        "remove": [name for name in names if name],
        "weights": parse_weights(_pairs(form.get("weights", ""), "weights")),
    }
    return {name: value for name, value in fields.items() if value}


def _pairs(text: str, field: str = "settings") -> dict[str, str]:
    """Return lines of the form ``name=value``, given as ``field``, as a mapping."""
    return parse_assignments((line for line in text.splitlines() if line.strip()), field)


def _equal(setting: Setting, typed: str, current: Any) -> bool:
    if is_relative(setting, typed):
        return False
    try:
        return bool(setting.validate(typed) == current)
    except InvalidInput:
        return False

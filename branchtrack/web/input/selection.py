"""The keys of an answer that its reader chose with ``fields``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel

from branchtrack.errors import InvalidInput

#: Names of keys, with what is chosen within each; an empty choice stands for all of it.
Choice = dict[str, "Choice"]


def selected(text: str, model: type[BaseModel]) -> Callable[[Any], Any]:
    """Return a function that leaves of an answer only the keys named in ``text``.

    Of a page it is the keys of each item. ``a.b`` is a key within another, or within each of a
    list.

    Raises:
        InvalidInput: the model has no such key.
    """
    key = getattr(model, "items", "")
    item = get_args(model.model_fields[key].annotation)[0] if key else model
    allowed = [info.alias or name for name, info in item.model_fields.items()]
    choice: Choice = {}
    for path in (each.strip() for each in text.split(",")):
        first, *others = path.split(".")
        if first not in allowed or "" in others:
            raise InvalidInput("fields", path, ", ".join(allowed))
        _add(choice, [first, *others])

    def choose(payload: Any) -> Any:
        return {**payload, key: _cut(payload[key], choice)} if key else _cut(payload, choice)

    return choose


def _add(choice: Choice, path: list[str]) -> None:
    """Add a path; all of a value holds whatever else is chosen of it."""
    *outer, last = path
    for name in outer:
        if choice.get(name) == {}:
            return
        choice = choice.setdefault(name, {})
    choice[last] = {}


def _cut(value: Any, choice: Choice) -> Any:
    if not choice:
        return value
    if isinstance(value, list):
        return [_cut(item, choice) for item in value]
    if isinstance(value, dict):
        return {name: _cut(value[name], below) for name, below in choice.items() if name in value}
    return value

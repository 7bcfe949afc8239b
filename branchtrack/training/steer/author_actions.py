"""The author's own actions: functions that a request can call in a running training.

Their parameters are typed by their annotations; pydantic's `Field` gives bounds:
``def boost(factor: Annotated[float, Field(ge=1, le=10)] = 2.0)``. It knows no request.
"""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from branchtrack.core.capabilities import Action
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

_KINDS = {bool: "bool", int: "int", float: "float", str: "str"}
_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def describe(name: str, function: Callable[..., Any]) -> Action:
    """Describe a function: parameters by annotation, the first line of its docstring.

    Raises:
        InvalidInput: a parameter that is not bool, int, float, str or Literal of strings, that
            cannot be passed by name, or whose default is not allowed.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise InvalidInput("actions", name, "names that are identifiers of Python")
    try:
        hinted = function if inspect.isroutine(function) else type(function).__call__
        hints = typing.get_type_hints(hinted, include_extras=True)
        signature = inspect.signature(function)
    except (TypeError, ValueError, NameError) as error:
        raise InvalidInput(f"actions.{name}", function, f"a function ({error})") from error
    parameters, defaults = [], {}
    for parameter in signature.parameters.values():
        declared = _parameter(f"actions.{name}", parameter, hints.get(parameter.name))
        parameters.append(declared)
        if parameter.default is not inspect.Parameter.empty:
            defaults[parameter.name] = declared.validate(parameter.default)
    about = (inspect.getdoc(function) or "").partition("\n")[0]
    return Action(name, about, tuple(parameters), defaults)


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call an action; return its result as JSON, under ``returned``."""
    result = function(**arguments)
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError):
        result = str(result)[:2000]
    return {"returned": result}


def _parameter(field: str, parameter: inspect.Parameter, hint: Any) -> Setting:
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        extras = tuple(rest)
    choices: tuple[str, ...] = ()
    if get_origin(hint) is Literal and all(isinstance(word, str) for word in get_args(hint)):
        hint, choices = str, get_args(hint)
    if hint not in _KINDS or parameter.kind not in _KEYWORD:
        raise InvalidInput(
            field,
            str(parameter),
            "parameters annotated as bool, int, float, str or Literal of strings",
        )
    bounds: dict[str, Any] = {}
    about = ""
    for extra in extras:
        if isinstance(extra, FieldInfo):
            about = extra.description or about
            for limit in extra.metadata:
                bounds |= _bounds(field, limit, hint)
    dtype = "choice" if choices else _KINDS[hint]
    return Setting(parameter.name, dtype, choices=choices, about=about, effect="", **bounds)


def _bounds(field: str, limit: Any, kind: type) -> dict[str, Any]:
    is_whole = kind is int
    bounds: dict[str, Any] = {}
    if (low := getattr(limit, "ge", None)) is not None:
        bounds["minimum"] = math.ceil(low) if is_whole else low
    if (low := getattr(limit, "gt", None)) is not None:
        # Whole numbers above 3 begin at 4.
        bounds |= {"minimum": math.floor(low) + 1} if is_whole else {"minimum": low, "above": True}
    if (high := getattr(limit, "le", None)) is not None:
        bounds["maximum"] = math.floor(high) if is_whole else high
    if (high := getattr(limit, "lt", None)) is not None:
        bounds["maximum"] = math.ceil(high) - 1 if is_whole else math.nextafter(high, -math.inf)
    if not bounds:
        raise InvalidInput(field, repr(limit), "bounds ge, gt, le and lt")
    return bounds

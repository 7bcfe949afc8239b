"""Query strings and bodies, validated by their models: what is invalid is named by its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from branchtrack.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)
#: In every address it may be the caller's token.
_TOKEN = "token"
_PREFIXES = ("Input should be ", "Value error, ", "String should have ", "Input should have ")


def query(model: type[Model]) -> Model:
    """Return the query string of the current request; an empty value counts as left out.

    Raises:
        InvalidInput: a value is not valid, missing, unknown or there twice.
    """
    values = {}
    for name, texts in request.args.lists():
        if name == _TOKEN:
            continue
        if len(texts) > 1:
            raise InvalidInput(name, texts, "one value", what=f"{name!r} is given twice.")
        if "\0" in texts[0]:
            raise InvalidInput(name, texts[0], "text without NUL")
        if (text := texts[0].strip()) or name not in _names(model):
            values[name] = text
    return validated(model, values)


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return the values as their model.

    Raises:
        InvalidInput: one is not valid, missing or unknown.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _refusal(model, values, error) from error


def _refusal(
    model: type[BaseModel], values: Mapping[str, Any], error: ValidationError
) -> InvalidInput:
    """Return the error of the first field at fault, with all that this may be."""
    problems = error.errors(include_url=False)
    field = str(problems[0]["loc"][0]) if problems[0]["loc"] else "body"
    names = _names(model)
    if problems[0]["type"] == "extra_forbidden":
        allowed = ", ".join(names) or "none"
        return InvalidInput(field, values[field], allowed, what=f"No field is {field!r}.")
    if problems[0]["type"] == "missing":
        info = next(
            info for name, info in model.model_fields.items() if field in (name, info.alias)
        )
        allowed = info.description or "a value"
        return InvalidInput(field, None, allowed, what=f"{field} is needed.")
    # Of a field with several forms there is one problem for each.
    words = [_words(each["msg"]) for each in problems if str(each["loc"][0]) == field]
    return InvalidInput(field, values.get(field), ", or ".join(dict.fromkeys(words)))


def _names(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _words(message: str) -> str:
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return message

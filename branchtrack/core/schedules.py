"""The schedules of transformers by name, and the arguments that each of them takes.

Decided from values alone, for validation: the training process inspects the functions themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from branchtrack.errors import InvalidInput

_COSINE = ("num_cycles", "min_lr", "min_lr_rate")
_WATCHING = (
    "mode",
    "factor",
    "patience",
    "threshold",
    "threshold_mode",
    "cooldown",
    "min_lr",
    "eps",
)
#: Every schedule, with its arguments beside warm-up and length.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "constant": (),
    "constant_with_warmup": (),
    "inverse_sqrt": ("timescale",),
    "reduce_lr_on_plateau": _WATCHING,
    "cosine_with_min_lr": _COSINE,
    "cosine_warmup_with_min_lr": (*_COSINE, "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps",
        "num_stable_steps",
        "warmup_type",
        "decay_type",
        "min_lr_ratio",
        "num_cycles",
    ),
    "greedy": (
        *_WATCHING,
        "warmup",
        "max_lr",
        "verbose",
        "smooth",
        "window_size",
        "reset_start",
    ),
}
#: Of each of these exactly one is needed.
NEEDED: dict[str, tuple[str, ...]] = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}
_RAMPS = ("linear", "cosine", "1-sqrt")
#: The arguments that are words or switches; all others are numbers.
_WORDS: dict[str, tuple[str, ...]] = {
    "mode": ("min", "max"),
    "threshold_mode": ("rel", "abs"),
    "warmup_type": _RAMPS,
    "decay_type": _RAMPS,
}
_SWITCHES = ("verbose", "smooth")
_COUNTS = (
    "patience",
    "cooldown",
    "warmup",
    "window_size",
    "reset_start",
    "num_decay_steps",
    "num_stable_steps",
    "timescale",
)
#: Those that follow the evaluation, and those whose rates at a step do not depend on the length.
WATCHING = ("reduce_lr_on_plateau", "greedy")
ENDLESS = ("constant", "constant_with_warmup", "inverse_sqrt", *WATCHING)

#: Those whose rate is 0 at their end, with any arguments.
TO_ZERO = ("linear", "cosine", "cosine_with_restarts")

KWARGS = "lr_scheduler_kwargs"
KIND = "lr_scheduler_type"


def read(text: Any) -> dict[str, Any] | None:
    """Return arguments from comma-separated ``name=value`` pairs or JSON; None if neither.

    Values are plain: finite numbers, words, true, false or null, and in JSON lists of numbers.
    """
    if isinstance(text, str):
        stripped = text.strip()
        arguments = _from_json(stripped) if stripped.startswith("{") else _from_pairs(stripped)
    else:
        arguments = dict(text) if isinstance(text, Mapping) else None
    if arguments is None or not all(_is_plain(value) for value in arguments.values()):
        return None
    return arguments


def write(arguments: Mapping[str, Any] | None) -> str:
    """Return the text of some arguments, which `read` reads back: pairs, or JSON for lists."""
    ordered = dict(sorted((arguments or {}).items()))
    pairs = ", ".join(f"{name}={_word(value)}" for name, value in ordered.items())
    return pairs if read(pairs) == ordered else json.dumps(ordered)


def check(kind: str, text: str) -> None:
    """Check that a schedule takes these arguments, and has those it needs.

    Raises:
        InvalidInput: naming the argument and what is allowed.
    """
    arguments, accepted = read(text) or {}, ARGUMENTS.get(kind)
    if accepted is None:
        return
    for name, value in arguments.items():
        if name not in accepted:
            takes = ", ".join(accepted) or "none"
            raise InvalidInput(
                KWARGS,
                f"{name}={_word(value)}",
                f"those that {kind} takes: {takes}",
                what=f"{KWARGS}: the schedule {kind} takes no argument {name!r}.",
            )
        _check_value(name, value)
    needed = NEEDED.get(kind, ())
    if needed and sum(name in arguments for name in needed) != 1:
        alternatives = " or ".join(f"{KWARGS}={name}=..." for name in needed)
        raise InvalidInput(
            KWARGS,
            text,
            f"exactly one of {alternatives}" if len(needed) > 1 else alternatives,
            what=f"The schedule {kind} needs {' or '.join(needed)}.",
        )


def _check_value(name: str, value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _WORDS:
        right, allowed = value in _WORDS[name], f"one of {', '.join(_WORDS[name])}"
    elif name in _SWITCHES:
        right, allowed = isinstance(value, bool), "true or false"
    elif name in _COUNTS:
        right = is_number and value >= 0 and value == int(value)
        allowed = "a whole number of at least 0"
    else:
        is_list = isinstance(value, list) and name in ("min_lr", "max_lr")
        right, allowed = is_number or is_list, "a finite number"
    if not right:
        raise InvalidInput(
            KWARGS,
            f"{name}={_word(value)}",
            allowed,
            what=f"{KWARGS}: {name} cannot be {_word(value)}.",
        )


def _from_json(text: str) -> dict[str, Any] | None:
    try:
        decoded = json.loads(text)
    except ValueError:
        return None
    return decoded if isinstance(decoded, dict) else None


def _from_pairs(text: str) -> dict[str, Any] | None:
    arguments: dict[str, Any] = {}
    for pair in filter(None, (token.strip() for token in text.split(","))):
        name, equals, value = (token.strip() for token in pair.partition("="))
        if not equals or not name.isidentifier() or not value or name in arguments:
            return None
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def is_recipe(value: Any) -> bool:
    """Return whether a value is a node's recipe of a schedule made for another length."""
    return isinstance(value, Mapping) and {"steps", "path"} <= value.keys()


def recipe_words(recipe: Mapping[str, Any]) -> str:
    """Describe a recipe: ``made for 24 updates, its 5 to 24 spread over updates 5 to 40``."""
    path = recipe["path"]
    spread = [
        f"its {y0:.10g} to {y1:.10g} spread over updates {x0:.10g} to {x1:.10g}"
        for (x0, y0), (x1, y1) in zip(path, path[1:], strict=False)
    ]
    rate = [f"for a base rate of {recipe['lr']:.10g}"] if "lr" in recipe else []
    return ", ".join([f"made for {recipe['steps']} updates", *rate, *spread])


def _word(value: Any) -> str:
    words = {True: "true", False: "false", None: "null"}
    return words[value] if isinstance(value, (bool, type(None))) else str(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(number, (int, float)) and _is_plain(number) for number in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))

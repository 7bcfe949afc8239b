"""The plain arguments of `loop.start`, checked before anything is recorded.

It knows no torch: `objects` checks what has state.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from branchtrack.core.builtin_settings import MAX_STEPS, SAVE_STEPS, SEED
from branchtrack.errors import InvalidInput


def check(name: Any, **by_name: Any) -> None:
    """Check the run's name, and arguments that are dicts by name.

    Raises:
        InvalidInput: naming the argument.
    """
    if name is not None and not isinstance(name, str):
        raise InvalidInput("name", name, "text, or None for the script's own name")
    for word, value in by_name.items():
        if value is not None and not isinstance(value, Mapping):
            raise InvalidInput(word, value, f"a dict of {word} by name, or None")
        for key in value or {}:
            if not isinstance(key, str):
                raise InvalidInput(word, key, "names that are text")


def counts(*, max_steps: Any, save_steps: Any, seed: Any) -> dict[str, int | None]:
    """Return the whole numbers among the arguments, by name; those of numpy as Python's own.

    Raises:
        InvalidInput: naming the argument.
    """
    numbers = ((MAX_STEPS, max_steps), (SAVE_STEPS, save_steps), (SEED, seed))
    return {setting.name: _whole(setting, value) for setting, value in numbers}


def _whole(setting: Any, value: Any) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        return int(setting.validate(operator.index(value)))
    except (TypeError, InvalidInput) as error:
        raise InvalidInput(setting.name, value, f"{setting.allowed}, or None") from error

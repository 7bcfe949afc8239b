"""The conditions of a request: at which step, from when, until when and only while what holds.

The training process itself checks them at its control point, where nothing can change in between.
This module knows no request and no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from branchtrack.core.formats import exact_setting
from branchtrack.core.queries import metric_conditions
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

#: Two spellings of one number in float32 differ by no more, relatively.
_TOLERANCE = 1.2e-7
_A_YEAR = 366 * 86400.0


_LAST_STEP = Setting("not_after_step", "int", minimum=0, maximum=2**62)
_SECONDS = Setting("expires_in", minimum=0, maximum=_A_YEAR, above=True, unit="seconds")
_AT_STEP = Setting("at_step", "int", minimum=0, maximum=2**62)
ONCE = "once"
#: The conditions that schedule a request: it waits for them, and expires if they never come.
SCHEDULES = (_AT_STEP.name, ONCE)
#: ``only_if`` are settings with the values that they must still have; ``not_after_step`` is the
#: last step at which it may be applied, ``expires_in`` seconds from now. ``at_step`` is the one
#: step at which it is applied, ``once`` a condition on metrics from which on it is.
NAMES = ("only_if", _LAST_STEP.name, _SECONDS.name, *SCHEDULES)


def parse(
    conditions: Mapping[str, Any],
    declared: Mapping[str, Setting],
    *,
    step: int,
    now: float,
    end: int | None = None,
) -> dict[str, Any]:
    """Return conditions as they are stored: ``only_if``, ``not_after_step``, ``expires_at``,
    ``at_step``, ``once``; absent ones are left out. ``step`` is where the run is, ``end`` where it
    is planned to end, ``now`` seconds since 1970.

    Raises:
        InvalidInput: an unknown condition or setting, a value that the setting could never have,
            a step that is past or beyond the end, or a condition that cannot be read.
    """
    for name in conditions:
        if name not in NAMES:
            raise InvalidInput(
                name, conditions[name], ", ".join(NAMES), what=f"There is no condition {name}."
            )
    present = {name: value for name, value in conditions.items() if value is not None}
    stored: dict[str, Any] = {}
    if present.get("only_if"):
        stored["only_if"] = _validated(present["only_if"], declared)
    if _LAST_STEP.name in present:
        last = _LAST_STEP.validate(present[_LAST_STEP.name])
        if last < step:
            raise InvalidInput(_LAST_STEP.name, last, f"the run's step, {step}, or a later one")
        stored[_LAST_STEP.name] = last
    if _SECONDS.name in present:
        stored["expires_at"] = now + _SECONDS.validate(present[_SECONDS.name])
    return stored | _schedule(present, stored, step, end)


def is_scheduled(conditions: Mapping[str, Any]) -> bool:
    """Return whether a request with these conditions, sent or stored, waits for its moment."""
    return any(conditions.get(name) is not None for name in SCHEDULES)


def awaited_words(stored: Mapping[str, Any]) -> str:
    """Return what a scheduled request waits for, as ``waits for step 120``; empty for others."""
    if _AT_STEP.name in stored:
        return f"waits for step {stored[_AT_STEP.name]}"
    return f"waits until {stored[ONCE]}" if ONCE in stored else ""


def _schedule(
    present: Mapping[str, Any], stored: Mapping[str, Any], step: int, end: int | None
) -> dict[str, Any]:
    """Return ``at_step`` or ``once`` as it is stored."""
    if ONCE in present and _AT_STEP.name in present:
        raise InvalidInput(
            ONCE, present[ONCE], f"one of {_AT_STEP.name} and {ONCE}, not both together"
        )
    if ONCE in present:
        return {ONCE: str(metric_conditions.parse(present[ONCE], ONCE))}
    if _AT_STEP.name not in present:
        return {}
    at_step = _AT_STEP.validate(present[_AT_STEP.name])
    last = min(step_ for step_ in (end, stored.get(_LAST_STEP.name), 2**62) if step_ is not None)
    if not step <= at_step <= last:
        limit = "on" if last == 2**62 else f"to step {last}"
        raise InvalidInput(
            _AT_STEP.name, at_step, f"a step from the run's present one, {step}, {limit}"
        )
    return {_AT_STEP.name: at_step}


def _validated(expected: Any, declared: Mapping[str, Setting]) -> dict[str, Any]:
    names = ", ".join(sorted(declared))
    if not isinstance(expected, Mapping):
        raise InvalidInput("only_if", expected, f"values of settings, by name: {names}")
    for name in expected:
        if name not in declared:
            raise InvalidInput(f"only_if.{name}", expected[name], f"one of {names}")
    return {name: _value(declared[name], value) for name, value in expected.items()}


def _value(setting: Setting, value: Any) -> Any:
    """Return a value that a condition names; its error is one of the condition."""
    try:
        return setting.validate(value)
    except InvalidInput as error:
        raise InvalidInput(f"only_if.{setting.name}", value, error.allowed) from error


def overdue(stored: Mapping[str, Any], *, step: int, now: float) -> str:
    """Return why a request is too late at ``step``, in a sentence; empty if it is not."""
    last = stored.get("not_after_step")
    if last is not None and step > last:
        return f"It was to be applied by step {last}, and training is at step {step}."
    at_step = stored.get(_AT_STEP.name)
    if at_step is not None and step > at_step:
        return f"Step {at_step} had passed: training is at step {step}."
    until = stored.get("expires_at")
    if until is not None and now > until:
        return f"It was to be applied {now - until:.1f} seconds earlier at the latest."
    return ""


def unmet(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return the precondition that does not hold, in a sentence; empty if all do."""
    for name, expected in stored.get("only_if", {}).items():
        if not same(current.get(name), expected):
            found = current.get(name)
            now = "not set" if found is None else exact_setting(found)
            wanted = exact_setting(expected)
            return f"It was requested only if {name} is {wanted}, but it is {now}."
    return ""


def same(actual: Any, expected: Any) -> bool:
    """Return whether two values are equal within float32 precision; NaN equals NaN."""
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(map(same, actual, expected))
    numbers = (int, float)
    if (
        isinstance(actual, bool)
        or not isinstance(actual, numbers)
        or not isinstance(expected, numbers)
    ):
        return bool(actual == expected)
    if math.isnan(actual) and math.isnan(expected):
        return True
    return math.isclose(actual, expected, rel_tol=_TOLERANCE, abs_tol=0.0)

"""Values that are relative to the value in force: ``x0.5``, ``*0.5``, ``+200``, ``-50``, ``+-50``.

It knows no run and no node: the value in force is passed in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from branchtrack.core.builtin_settings import MAX_STEPS, STOP_AT
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput, shown

#: As `core.settings` reads numbers.
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_FACTOR = re.compile(rf"[x*]({_NUMBER})")
_INCREASE = re.compile(rf"\+(-?{_NUMBER})")
_DECREASE = re.compile(rf"(-{_NUMBER})")
_MORE = re.compile(rf"\+{_NUMBER}")
_NUMERIC = ("float", "int")
#: No operation fails by its size: what is too large is infinite, and what is too small is zero.
_ARITHMETIC = Context(prec=28, traps=[InvalidOperation])
#: Decimal places before the point that no float has.
_TOO_MANY = 309
#: What pages offer as buttons beside a rate.
FACTORS = ("x0.5", "x0.1", "x2")
#: Settings that are steps of a run.
_STEPS = (MAX_STEPS.name, STOP_AT.name)
#: What the last part of a rate's name is, or ends with.
_RATES = re.compile(r"(.*_)?(lr|rate)")


def is_rate(setting: Setting) -> bool:
    """Return whether a setting is a learning rate or the like, which is changed by factors."""
    last = setting.name.rpartition(".")[2]
    return setting.dtype == "float" and bool(_RATES.fullmatch(last))


def is_relative(setting: Setting, value: Any) -> bool:
    """Return whether ``value`` is text that is relative to the value in force.

    ``-50`` is, where the setting takes no negative values; elsewhere it is a value by itself.
    """
    return _operation(setting, value) is not None


def resolved(
    values: Mapping[str, Any],
    settings: Mapping[str, Setting],
    current: Mapping[str, Any],
    step: int | None = None,
) -> dict[str, Any]:
    """Return ``values`` with each relative one computed from ``current``; others are unchanged.

    With a ``step`` ``max_steps=+50`` is 50 updates after it, and so is ``stop_at=+50``: the same
    change then gives forks of several nodes the same length. Decimal arithmetic is used, so that
    ``x0.1`` of 3e-4 is 3e-5.

    Raises:
        InvalidInput: a setting has no number in force, or the result is not allowed.
    """
    return {
        name: _resolved(settings[name], value, _origin(name, value, current, step))
        if name in settings
        else value
        for name, value in values.items()
    }


def counts_from_step(name: str, value: Any) -> bool:
    """Return whether a value is a number of updates from the step of a node on."""
    return name in _STEPS and isinstance(value, str) and bool(_MORE.fullmatch(value.strip()))


def may_be_relative(values: Mapping[str, Any]) -> bool:
    """Return whether any of ``values`` is text that would be relative for some setting."""
    return any(isinstance(value, str) and value.strip()[:1] in "x*+-" for value in values.values())


def relative_names(values: Mapping[str, Any], settings: Mapping[str, Setting]) -> list[str]:
    """Return the names of the settings whose value is relative."""
    return [
        name
        for name, value in values.items()
        if name in settings and is_relative(settings[name], value)
    ]


def _origin(name: str, value: Any, current: Mapping[str, Any], step: int | None) -> Any:
    """Return what a relative value is relative to."""
    return step if step is not None and counts_from_step(name, value) else current.get(name)


def _resolved(setting: Setting, value: Any, before: Any) -> Any:
    operation = _operation(setting, value)
    if operation is None:
        return value
    if isinstance(before, bool) or not isinstance(before, (int, float)):
        raise InvalidInput(
            setting.name,
            value,
            setting.allowed,
            what=f"{setting.name}: {shown(value)} is relative, and no number is in force.",
        )
    result = _computed(operation, before)
    is_too_large = math.isinf(result) and not math.isinf(before)
    try:
        if is_too_large:
            # Infinity is a value to be named, as it is where a value is written by itself.
            raise InvalidInput(setting.name, value, setting.allowed)
        return setting.validate(result)
    except InvalidInput as error:
        number = "too large a number" if is_too_large else result
        raise InvalidInput(
            setting.name,
            value,
            setting.allowed,
            what=f"{setting.name}: {shown(value)} makes {number} of {before}, "
            "which is not accepted.",
        ) from error


def _computed(operation: tuple[str, str], before: float) -> float | int:
    """Return the result, whole if it is a whole number and ``before`` is one."""
    kind, text = operation
    try:
        base, operand = Decimal(repr(before)), Decimal(text)
        combined = _ARITHMETIC.multiply if kind == "factor" else _ARITHMETIC.add
        result = combined(base, operand)
        # Neither an integer of a million digits is made, nor one that cannot be written.
        if result.is_finite() and result.adjusted() < _TOO_MANY and isinstance(before, int):
            if result == _ARITHMETIC.to_integral_value(result):
                return int(result)
        return float(result)
    except InvalidOperation:
        # Infinity times zero, or an exponent that is itself too long.
        return float("nan")


def _operation(setting: Setting, value: Any) -> tuple[str, str] | None:
    """Return the kind of operation and its operand; None for a value that is not relative."""
    if setting.dtype not in _NUMERIC or not isinstance(value, str):
        return None
    text = value.strip()
    if match := _FACTOR.fullmatch(text):
        return "factor", match[1]
    if match := _INCREASE.fullmatch(text):
        return "term", match[1]
    is_never_negative = setting.minimum is not None and setting.minimum >= 0
    if is_never_negative and (match := _DECREASE.fullmatch(text)):
        return "term", match[1]
    return None

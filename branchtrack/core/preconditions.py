"""Under what conditions a request may still be carried out, and until when.

Looked at by the training process itself at its control point, where nothing can change in between.
It knows no request and no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

#: Two spellings of one number in float32 differ by no more, relatively.
_TOLERANCE = 1.2e-7
_A_YEAR = 366 * 86400.0


_LAST_STEP = Setting("not_after_step", "int", minimum=0, maximum=2**62)
_SECONDS = Setting("expires_in", minimum=0, maximum=_A_YEAR, above=True, unit="seconds")
#: ``only_if`` are settings with the values that they must still have; ``not_after_step`` is the
#: last step at which it may be applied, ``expires_in`` seconds from now.
NAMES = ("only_if", _LAST_STEP.name, _SECONDS.name)


def parse(
    given: Mapping[str, Any], known: Mapping[str, Setting], *, step: int, now: float
) -> dict[str, Any]:
    """Conditions as they are stored: ``only_if``, ``not_after_step``, ``expires_at``; absent ones
    are left out. ``step`` is where the run is, ``now`` seconds since 1970.

    Raises:
        InvalidInput: an unknown condition or setting, a value that the setting could never have,
            or a step that is past.
    """
    for name in given:
        if name not in NAMES:
            raise InvalidInput(name, given[name], ", ".join(NAMES), what=f"No condition is {name}.")
    asked = {name: value for name, value in given.items() if value is not None}
    found: dict[str, Any] = {}
    if asked.get("only_if"):
        found["only_if"] = _validated(asked["only_if"], known)
    if _LAST_STEP.name in asked:
        last = _LAST_STEP.validate(asked[_LAST_STEP.name])
        if last < step:
            raise InvalidInput(_LAST_STEP.name, last, f"the run's step, {step}, or a later one")
        found[_LAST_STEP.name] = last
    if _SECONDS.name in asked:
        found["expires_at"] = now + _SECONDS.validate(asked[_SECONDS.name])
    return found


def _validated(wanted: Any, known: Mapping[str, Setting]) -> dict[str, Any]:
    names = ", ".join(sorted(known))
    if not isinstance(wanted, Mapping):
        raise InvalidInput("only_if", wanted, f"values of settings, by name: {names}")
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"only_if.{name}", wanted[name], f"one of {names}")
    return {name: known[name].validate(value) for name, value in wanted.items()}


def overdue(stored: Mapping[str, Any], *, step: int, now: float) -> str:
    """Why a request comes too late at ``step``, in a sentence; empty where it does not."""
    last = stored.get("not_after_step")
    if last is not None and step > last:
        return f"It was to be applied by step {last}, and training is at step {step}."
    until = stored.get("expires_at")
    if until is not None and now > until:
        return f"It was to be applied {now - until:.1f} seconds earlier at the latest."
    return ""


def unmet(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Which precondition does not hold, in a sentence; empty where all do."""
    for name, wanted in stored.get("only_if", {}).items():
        if not same(current.get(name), wanted):
            return f"It was asked only if {name} is {wanted}, and it is {current.get(name)}."
    return ""


def same(found: Any, wanted: Any) -> bool:
    """Whether two values are one, as far as float32 can tell; NaN is NaN."""
    if isinstance(found, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    numbers = (int, float)
    if isinstance(found, bool) or not isinstance(found, numbers) or not isinstance(wanted, numbers):
        return bool(found == wanted)
    if math.isnan(found) and math.isnan(wanted):
        return True
    return math.isclose(found, wanted, rel_tol=_TOLERANCE, abs_tol=0.0)

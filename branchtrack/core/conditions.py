"""Under what conditions a request may still be carried out, and until when.

Looked at by the training process itself at its control point, where nothing can change in between.
It knows no request and no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

#: Two spellings of one number in float32 differ by no more, relatively.
_TOLERANCE = 1.2e-7
_A_YEAR = 366 * 86400.0


class Conditions(BaseModel):
    """``only_if`` are settings with the values that they must still have; ``not_after_step`` is the
    last step at which it may be applied, ``expires_in`` seconds from now.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    only_if: dict[str, Any] = Field(default_factory=dict)
    not_after_step: int | None = Field(default=None, ge=0, le=2**62)
    expires_in: float | None = Field(default=None, gt=0, le=_A_YEAR)


def parse(
    given: Mapping[str, Any], known: Mapping[str, Setting], *, step: int, now: float
) -> dict[str, Any]:
    """Conditions as they are stored: ``only_if``, ``not_after_step``, ``expires_at``; absent ones
    are left out. ``step`` is where the run is, ``now`` seconds since 1970.

    Raises:
        InvalidInput: an unknown condition or setting, a value that the setting could never have,
            or a step that is past.
    """
    try:
        asked = Conditions.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "conditions"
        raise InvalidInput(field, first.get("input"), first["msg"]) from error
    found: dict[str, Any] = {}
    for name, value in asked.only_if.items():
        if name not in known:
            raise InvalidInput(f"only_if.{name}", value, f"one of {', '.join(sorted(known))}")
        found.setdefault("only_if", {})[name] = known[name].validate(value)
    if asked.not_after_step is not None:
        if asked.not_after_step < step:
            raise InvalidInput(
                "not_after_step", asked.not_after_step, f"the run's step, {step}, or a later one"
            )
        found["not_after_step"] = asked.not_after_step
    if asked.expires_in is not None:
        found["expires_at"] = now + asked.expires_in
    return found


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
    """Whether two values are one, as far as float32 can tell."""
    if isinstance(found, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    numbers = (int, float)
    if isinstance(found, bool) or not isinstance(found, numbers) or not isinstance(wanted, numbers):
        return bool(found == wanted)
    return math.isclose(found, wanted, rel_tol=_TOLERANCE, abs_tol=0.0)

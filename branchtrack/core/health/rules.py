"""What a run is watched for: one model, with defaults that say nothing of a healthy training.

It knows no run and no curve; `detectors` and `alerts` carry the rules out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from branchtrack.core.names import LONGEST_METRIC, storable
from branchtrack.errors import InvalidInput

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_TARGET = re.compile(rf"\s*([^<>=\s][^<>=]*?)\s*(<=|>=|<|>)\s*({_NUMBER})\s*")
_TARGET_RULE = "METRIC, one of < <= > >=, and a number, as in eval_loss<2.5"
#: What the text of a size may end with.
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
#: Metrics and targets of one run.
_MOST = 20

Metric = Annotated[str, Field(min_length=1, max_length=LONGEST_METRIC)]
#: A count of points or evaluations; None for off.
Patience = Annotated[int, Field(ge=1, le=10**9)] | None


@dataclass(frozen=True)
class Target:
    """A value that a metric is to reach: ``operator`` is ``<``, ``<=``, ``>`` or ``>=``."""

    metric: str
    operator: str
    value: float

    def is_reached(self, value: float) -> bool:
        """Return whether a value of the metric is the target, or better; NaN never is."""
        if self.operator.startswith("<"):
            return value < self.value or (self.operator == "<=" and value == self.value)
        return value > self.value or (self.operator == ">=" and value == self.value)

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.value:g}"


def target(text: str) -> Target:
    """Return the target that a text such as ``eval_loss<2.5`` spells.

    Raises:
        InvalidInput: it spells none.
    """
    parts = _TARGET.fullmatch(text)
    if parts is None or not math.isfinite(float(parts[3])):
        raise InvalidInput("target", text, _TARGET_RULE)
    return Target(parts[1], parts[2], float(parts[3]))


class Rules(BaseModel):
    """What a run is watched for; None or an empty list turns a rule off.

    ``metrics`` are watched for NaN and spikes. ``spike`` is how many median absolute deviations
    above the median of the last ``window`` points a spike is; it is also ``floor`` times the
    median. ``plateau`` counts evaluations, ``plateau_loss`` logged points of the smoothed loss, in
    which nothing got better by the fraction ``min_delta``; the loss counts only where there is no
    ``eval_loss``. ``stall`` are seconds without an update, ``disk`` the free bytes that the store's
    disk must have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metrics: Annotated[list[Metric], Field(max_length=_MOST)] = ["loss", "eval_loss"]
    nan: bool = True
    spike: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = 10.0
    floor: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)] = 1.5
    window: Annotated[int, Field(ge=10, le=1000)] = 50
    plateau: Patience = 10
    plateau_loss: Patience = 2000
    min_delta: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.001
    stall: Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False)] | None = 900.0
    disk: Annotated[int, Field(ge=0, le=2**60)] | None = 10**9
    crash: bool = True
    targets: Annotated[list[str], Field(max_length=_MOST)] = []

    @field_validator("metrics")
    @classmethod
    def _storable(cls, names: list[str]) -> list[str]:
        if any(storable(name) != name for name in names):
            raise ValueError("names of metrics, without control characters")
        return list(dict.fromkeys(names))

    @field_validator("targets")
    @classmethod
    def _spelled_alike(cls, texts: list[str]) -> list[str]:
        return list(dict.fromkeys(str(target(text)) for text in texts))

    def as_json(self) -> dict[str, Any] | None:
        """Return what a run stores: the rules that differ from the defaults; None for none."""
        return self.model_dump(exclude_defaults=True) or None


def from_json(stored: Mapping[str, Any] | None) -> Rules:
    """Return the rules of a run that stores ``stored``.

    Raises:
        InvalidInput: names the rule, and what it may be.
    """
    try:
        return Rules.model_validate(dict(stored or {}))
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "rules"
        text = str(first["msg"]).replace("Input should be", "").replace("Value error,", "").strip()
        is_unknown = first["type"] == "extra_forbidden"
        allowed = ", ".join(Rules.model_fields) if is_unknown else text
        raise InvalidInput(field, first.get("input"), allowed) from error


def readable(stored: Mapping[str, Any] | None) -> Rules:
    """Return the rules of a run, or the defaults for what another version has stored."""
    try:
        return from_json(stored)
    except InvalidInput:
        return Rules()


def from_text(field: str, text: str) -> Any:
    """Return the value of a rule as a person writes it, as `from_json` takes it.

    That is a number, ``off``, or ``on`` for the default; a size may have a unit, as in ``20GB``.

    Raises:
        InvalidInput: it is none of these.
    """
    word, is_switch = text.strip().lower(), field in ("nan", "crash")
    if word == "on":
        return Rules.model_fields[field].default
    if word == "off":
        return False if is_switch else None
    unit = _UNITS.get(word[-2:], 1) if field == "disk" else 1
    digits = word[:-2].strip() if unit > 1 else word
    if is_switch or not re.fullmatch(_NUMBER, digits):
        allowed = "on or off" if is_switch else "a number, on or off"
        raise InvalidInput(field, text, allowed)
    number = float(digits) * unit
    return int(number) if number.is_integer() else number

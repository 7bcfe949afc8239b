"""One change of a recording: what was done at which moment, and how a replay refers to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from branchtrack.core.interventions import INTERVENTIONS, REPLAYED_KINDS, Intervention, read
from branchtrack.core.plain_values import check
from branchtrack.core.queries import metric_conditions
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

#: Who made a change: a request; a resume or a rewind, for the whole branch; the script itself.
By = Literal["request", "resume", "script"]
MAKERS: tuple[By, ...] = ("request", "resume", "script")
#: Keys of a line that are not fields of its intervention.
ABOUT = ("at", "kind", "by", "reason", "actor", "before", "after", "metrics")
_STEP = Setting("at.step", "int", minimum=0, maximum=2**62)
_FRACTION = Setting("at.fraction", "float", minimum=0.0, maximum=1.0)
_AT = '{"step": 120}, {"fraction": 0.4} or {"once": "eval_loss<2.5"}'


@dataclass(frozen=True)
class Moment:
    """When a change is made: exactly one of a ``step``, a ``fraction`` of all steps, ``once``."""

    step: int | None = None
    fraction: float | None = None
    once: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def conditions(self, max_steps: int | None) -> dict[str, Any]:
        """Return the moment as conditions of a request to a training of ``max_steps`` steps.

        Raises:
            InvalidInput: a fraction, and it is not known how long the training is.
        """
        if self.once is not None:
            return {"once": self.once}
        if self.fraction is None:
            return {"at_step": self.step}
        if max_steps is None:
            allowed = "a step or a condition: the length of that training is not known"
            raise InvalidInput("at.fraction", self.fraction, allowed)
        return {"at_step": round(Fraction(self.fraction) * max_steps)}


@dataclass(frozen=True)
class RecordedChange:
    """A change; ``fields`` are those of its intervention, ``line`` is its place in the file.

    ``before`` and ``after`` are values by name, ``metrics`` the newest that were logged then.
    """

    at: Moment
    kind: str
    fields: dict[str, Any]
    by: By = "request"
    reason: str = ""
    actor: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    line: int = 0

    @property
    def payload(self) -> dict[str, Any]:
        """The intervention as it is sent."""
        return {"kind": self.kind, **self.fields}

    @property
    def intervention(self) -> Intervention:
        """The intervention, with only its fields checked."""
        return read(self.payload)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: one line of a recording."""
        return {
            "at": self.at.as_dict(),
            "kind": self.kind,
            **self.fields,
            "by": self.by,
            "reason": self.reason,
            "actor": self.actor,
            "before": self.before,
            "after": self.after,
            "metrics": self.metrics,
        }


def moment_of(step: int, by: str, max_steps: int | None, metrics: Mapping[str, Any]) -> Moment:
    """Return the moment of a change at ``step``, written ``by`` step, fraction, or a metric's name.

    ``metrics`` are the values that were the newest then.

    Raises:
        InvalidInput: the length of the training, or the metric then, is not known.
    """
    if by == "step":
        return Moment(step=step)
    if by == "fraction":
        if not max_steps:
            raise InvalidInput("by", by, "step or a metric: the branch has no planned length")
        return Moment(fraction=step / max_steps)
    value = metrics.get(by)
    if not isinstance(value, (int, float)):
        known = ", ".join(sorted(metrics)) or "none"
        allowed = f"step, fraction, or a metric logged by step {step}: {known}"
        raise InvalidInput("by", by, allowed)
    operator = ">=" if is_higher_better(by) else "<="
    condition = f"`{by}`{operator}{value!r}"
    return Moment(once=str(metric_conditions.parse(condition, "by")))


def change_of(row: Mapping[str, Any], line: int) -> RecordedChange:
    """Return the change of one line of a recording.

    Raises:
        InvalidInput: naming the field; `recording.at_line` adds the line.
    """
    check(row, "")
    fields = {name: value for name, value in row.items() if name not in ABOUT}
    kind, by = row.get("kind"), row.get("by", "request")
    if by not in MAKERS:
        raise InvalidInput("by", by, ", ".join(MAKERS))
    if kind not in REPLAYED_KINDS and by != "script":
        raise InvalidInput("kind", kind, ", ".join(REPLAYED_KINDS))
    if kind not in INTERVENTIONS:
        raise InvalidInput("kind", kind, ", ".join(INTERVENTIONS))
    read({"kind": kind, **fields})
    return RecordedChange(
        at=_moment(row.get("at")),
        kind=kind,
        fields=fields,
        by=by,
        line=line,
        reason=_text(row, "reason"),
        actor=_text(row, "actor"),
        before=_values(row, "before"),
        after=_values(row, "after"),
        metrics=_values(row, "metrics"),
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    text = row.get(name, "")
    if not isinstance(text, str):
        raise InvalidInput(name, text, "text")
    return text


def _values(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    values = row.get(name) or {}
    if not isinstance(values, dict):
        raise InvalidInput(name, values, "values by name")
    return values


def _moment(at: Any) -> Moment:
    if not isinstance(at, Mapping) or len(at) != 1:
        raise InvalidInput("at", at, _AT)
    ((name, value),) = at.items()
    if name == "step":
        return Moment(step=_STEP.validate(value))
    if name == "fraction":
        return Moment(fraction=_FRACTION.validate(value))
    if name == "once":
        return Moment(once=str(metric_conditions.parse(value, "at.once")))
    raise InvalidInput("at", dict(at), _AT)

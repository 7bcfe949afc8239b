"""Interventions: the typed changes and actions a run can be asked for, one model each.

The same models validate the command line, the forms and the API. They know no run and no trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from branchtrack.core.settings import Setting, validate_all
from branchtrack.errors import InvalidInput


class _Intervention(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetSettings(_Intervention):
    """Give one or more settings new values, all or nothing."""

    kind: Literal["set"] = "set"
    values: dict[str, Any]

    def describe(self) -> str:
        """One line: ``set lr = 0.0003``."""
        return "set " + ", ".join(f"{name} = {value}" for name, value in self.values.items())


class Checkpoint(_Intervention):
    """Commit a node now; the answer is the node."""

    kind: Literal["checkpoint"] = "checkpoint"
    message: str = Field(default="", max_length=2000)

    def describe(self) -> str:
        """One line."""
        return "checkpoint"


class Evaluate(_Intervention):
    """Evaluate now; the answer is the metrics."""

    kind: Literal["evaluate"] = "evaluate"

    def describe(self) -> str:
        """One line."""
        return "evaluate"


class Stop(_Intervention):
    """Commit a node and end the training process."""

    kind: Literal["stop"] = "stop"

    def describe(self) -> str:
        """One line."""
        return "stop"


Intervention = Annotated[
    SetSettings | Checkpoint | Evaluate | Stop, Field(discriminator="kind")
]  # fmt: skip
_ADAPTER: TypeAdapter[SetSettings | Checkpoint | Evaluate | Stop] = TypeAdapter(Intervention)
#: Actions with work behind them end as ``done``; settings end as ``verified`` or ``ineffective``.
ACTIONS = ("checkpoint", "evaluate", "stop")


def parse(
    payload: Mapping[str, Any], known: Mapping[str, Setting]
) -> SetSettings | Checkpoint | Evaluate | Stop:
    """The intervention that ``payload`` asks for, validated against the run's own settings.

    Raises:
        InvalidInput: unknown kind, unknown or missing field, or a value that is not allowed.
    """
    try:
        intervention = _ADAPTER.validate_python(dict(payload))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "kind"
        allowed = first["msg"] if field != "kind" else "set, checkpoint, evaluate or stop"
        raise InvalidInput(field, first.get("input"), allowed) from error
    if isinstance(intervention, SetSettings):
        return SetSettings(values=validate_all(intervention.values, _live(known)))
    return intervention


def _live(known: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: setting for name, setting in known.items() if setting.live}

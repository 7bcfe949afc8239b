"""Interventions: the typed changes and actions that can be requested of a run, one model each.

The same models validate the command line, the forms and the API. They know no run and no trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from branchtrack.core.capabilities import Offers
from branchtrack.core.settings import Setting, refuse_later, validate_all
from branchtrack.errors import InvalidInput

Text = Annotated[str, Field(max_length=2000)]


class _Intervention(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str

    def describe(self) -> str:
        """Describe the request in one line."""
        return self.kind


class SetSettings(_Intervention):
    """Give one or more settings new values, all or nothing.

    ``clamp``: use the nearest allowed value for one out of bounds, instead of a refusal.
    """

    kind: Literal["set"] = "set"
    values: dict[str, Any]
    clamp: bool = False

    def describe(self) -> str:
        """One line: ``set lr = 0.0003``."""
        return "set " + ", ".join(f"{name} = {value}" for name, value in self.values.items())


class Pause(_Intervention):
    """Hold training at this control point, still answering; a node is committed first."""

    kind: Literal["pause"] = "pause"


class Unpause(_Intervention):
    """Resume a training that is paused."""

    kind: Literal["unpause"] = "unpause"


class Stop(_Intervention):
    """Commit a node and end the training process.

    ``when``: ``now``, at the end of the ``epoch``, or after the next ``checkpoint`` that the script
    makes by itself.
    """

    kind: Literal["stop"] = "stop"
    when: Literal["now", "epoch", "checkpoint"] = "now"

    def describe(self) -> str:
        """One line."""
        later = {"now": "", "epoch": " at the end of the epoch"}
        return "stop" + later.get(self.when, " after the next checkpoint")


class Evaluate(_Intervention):
    """Evaluate now; the answer is the metrics."""

    kind: Literal["evaluate"] = "evaluate"


class Checkpoint(_Intervention):
    """Commit a node now; the answer is the node."""

    kind: Literal["checkpoint"] = "checkpoint"
    message: Text = ""


class Rewind(_Intervention):
    """Go back to an earlier node of the run, and continue from there as a new branch, in place.

    ``name`` is the branch's; ``values`` are settings to change, as at a resume.
    """

    kind: Literal["rewind"] = "rewind"
    node: str = Field(min_length=4, max_length=16)
    name: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)

    def describe(self) -> str:
        """One line."""
        more = ", ".join(f"{name} = {value}" for name, value in self.values.items())
        return f"rewind to {self.node}" + (f" with {more}" if more else "")


class _OfModules(_Intervention):
    modules: Text

    def describe(self) -> str:
        """One line."""
        return f"{self.kind} {self.modules}"


class Freeze(_OfModules):
    """Freeze modules or parameters, by name or pattern, in addition to those already frozen."""

    kind: Literal["freeze"] = "freeze"


class Unfreeze(_OfModules):
    """Let modules or parameters, by name or pattern, train again."""

    kind: Literal["unfreeze"] = "unfreeze"


class Reset(_OfModules):
    """Give modules, by name or pattern, fresh weights, and reset the optimizer's state for them."""

    kind: Literal["reset"] = "reset"


class Note(_Intervention):
    """Add a remark to the record; a run that has ended accepts it too."""

    kind: Literal["note"] = "note"
    text: Annotated[str, Field(min_length=1, max_length=2000)]

    def describe(self) -> str:
        """One line."""
        return f"note: {self.text}"


class Act(_Intervention):
    """Call one of the actions that the run's author registered."""

    kind: Literal["act"] = "act"
    action: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    def describe(self) -> str:
        """One line."""
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.action}({arguments})"


_Any = (
    SetSettings
    | Pause
    | Unpause
    | Stop
    | Evaluate
    | Checkpoint
    | Rewind
    | Freeze
    | Unfreeze
    | Reset
    | Note
    | Act
)
Intervention = Annotated[_Any, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Intervention)
#: Every kind.
KINDS: tuple[str, ...] = tuple(member.model_fields["kind"].default for member in get_args(_Any))
#: The kinds that end as ``verified`` or ``ineffective``; the others end as ``done``.
SETTING_KINDS = ("set", "freeze", "unfreeze")


def parse(
    payload: Mapping[str, Any], declared: Mapping[str, Setting], offers: Offers | None = None
) -> Any:
    """Return the intervention of ``payload``, validated against the run's own declarations.

    Raises:
        InvalidInput: unknown kind, unknown or missing field, or a value that is not allowed.
    """
    intervention = read(payload)
    offers = offers or Offers()
    if isinstance(intervention, SetSettings):
        clamp = {"clamp": True} if intervention.clamp else {}
        refuse_later(intervention.values, declared)
        allowed = validate_all(intervention.values, _live(declared), **clamp)
        return SetSettings(values=allowed, clamp=intervention.clamp)
    if isinstance(intervention, _OfModules):
        offers.check_modules(intervention.modules)
    if isinstance(intervention, Act):
        arguments = offers.action(intervention.action).validate(intervention.arguments)
        return Act(action=intervention.action, arguments=arguments)
    if isinstance(intervention, Evaluate) and not offers.evaluates:
        raise InvalidInput(
            "kind",
            "evaluate",
            "the other actions",
            what="The run has nothing to evaluate with: its script passed no evaluation.",
        )
    return intervention


def read(payload: Mapping[str, Any]) -> Any:
    """Return the intervention of ``payload``, with only its fields checked.

    Raises:
        InvalidInput: unknown kind, unknown or missing field, or a value of the wrong type.
    """
    try:
        return _ADAPTER.validate_python(dict(payload))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(key) for key in first["loc"][1:]) or "kind"
        allowed = ", ".join(KINDS) if field == "kind" else _allowed(first)
        value = payload.get("kind") if field == "kind" else first.get("input")
        raise InvalidInput(field, value, allowed) from error


def _allowed(problem: Mapping[str, Any]) -> str:
    """Return what a field may be, from pydantic's message on what it may not."""
    if problem["type"] == "extra_forbidden":
        kind = next(
            model
            for model in get_args(_Any)
            if model.model_fields["kind"].default == problem["loc"][0]
        )
        return (
            ", ".join(name for name in kind.model_fields if name != "kind") or "no more than kind"
        )
    text = str(problem["msg"])
    return text.replace("Input should be", "").replace("String should have", "text of").strip()


def _live(declared: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: setting for name, setting in declared.items() if setting.live}

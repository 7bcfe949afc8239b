"""Interventions: the typed changes and actions that can be requested of a run, one model each.

The same models validate the command line, the forms and the API, and hold what these, the database
and the training process have to know of each kind. They know no run and no trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from branchtrack.core.builtin_settings import refuse_later, validate_all
from branchtrack.core.capabilities import Capabilities
from branchtrack.core.settings import Setting
from branchtrack.core.shards.composition import MOST_WEIGHT, NO_SHARDS, SETTING
from branchtrack.errors import InvalidInput

Text = Annotated[str, Field(max_length=2000)]
Weight = Annotated[float, Field(ge=0, le=MOST_WEIGHT, allow_inf_nan=False)]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: Seconds for which a training can be paused at most, if it continues by itself.
MOST_PAUSE_SECONDS = 30 * 86400
#: When a request is over: once it was answered, once an update has proved it, at the end of the
#: training, or once the next segment trains.
Awaits = Literal["answer", "update", "end", "segment"]


class Intervention(BaseModel):
    """What every kind has; a kind that differs says so in its own model.

    ``label`` is on its button, ``about`` is a short line of help. ``awaits`` is the default of
    `awaits_of`. ``makes_node``: a node is committed for it. ``replayed``: a certificate has to
    carry it out again. ``changes_settings``: its answer is the settings before and after.
    ``needs_process``: a run that has ended cannot have it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    label: ClassVar[str]
    about: ClassVar[str]
    awaits: ClassVar[Awaits] = "answer"
    makes_node: ClassVar[bool] = True
    replayed: ClassVar[bool] = False
    changes_settings: ClassVar[bool] = False
    needs_process: ClassVar[bool] = True

    kind: str

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of its fields beside its kind."""
        return [name for name in cls.model_fields if name != "kind"]

    @classmethod
    def awaits_of(cls, requested: Mapping[str, Any]) -> Awaits:
        """Return when a request of this kind with those fields is over."""
        return cls.awaits

    @classmethod
    def names_of(cls, fields: Mapping[str, Any]) -> list[str]:
        """Return the names that a token's ``only`` has to allow: its kind, and its settings."""
        return [cls.model_fields["kind"].default, *(fields.get("values") or ())]

    @classmethod
    def remark_of(cls, requested: Mapping[str, Any]) -> tuple[str, Any] | None:
        """Return the name and value of a node's entry for it that is no setting; None for none."""
        return None

    def describe(self) -> str:
        """Describe the request in one line."""
        return self.kind

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Return it with values as a run that declared and offers this takes them.

        Raises:
            InvalidInput: a value that is not allowed.
        """
        return self


class SetSettings(Intervention):
    """Give one or more settings new values, all or nothing.

    ``clamp``: use the nearest allowed value for one out of bounds, instead of a refusal.
    """

    label, about = "Apply", "change settings, all or none"
    awaits, replayed, changes_settings = "update", True, True

    kind: Literal["set"] = "set"
    values: dict[str, Any]
    clamp: bool = False

    @classmethod
    def names_of(cls, fields: Mapping[str, Any]) -> list[str]:
        """Return the settings."""
        return list(fields.get("values") or ())

    def describe(self) -> str:
        """One line: ``set lr = 0.0003``."""
        return "set " + ", ".join(f"{name} = {value}" for name, value in self.values.items())

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Return it with each value as its setting's type."""
        refuse_later(self.values, declared)
        live = {name: setting for name, setting in declared.items() if setting.live}
        allowed = validate_all(self.values, live, clamp=self.clamp)
        return self.model_copy(update={"values": allowed})


class Pause(Intervention):
    """Hold training at this control point, still answering; a node is committed first.

    ``free``: end the process as well, so that the machine is free; the branch stays paused.
    ``seconds``: continue by itself after so many, whatever has become of who asked.
    """

    label, about = "Pause", "commit a node and hold, still answering"

    kind: Literal["pause"] = "pause"
    free: bool = False
    seconds: float | None = Field(None, gt=0, le=MOST_PAUSE_SECONDS)

    @classmethod
    def awaits_of(cls, requested: Mapping[str, Any]) -> Awaits:
        """Return ``end`` if the process is to end."""
        return "end" if requested.get("free") else cls.awaits

    def describe(self) -> str:
        """One line."""
        if self.seconds is not None:
            return f"pause for {self.seconds:g} seconds"
        return "pause, and free the machine" if self.free else "pause"

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Refuse a time for a process that ends: nothing would be left to continue."""
        if self.free and self.seconds is not None:
            raise InvalidInput("seconds", self.seconds, "nothing, as the process ends")
        return self


class Unpause(Intervention):
    """Let a paused training continue, in a new process if its own has ended.

    ``pause``: the id of the request to end; the training continues unless another holds it.
    """

    label, about = "Continue", "train on after a pause"
    makes_node = False

    kind: Literal["unpause"] = "unpause"
    pause: str | None = Field(None, max_length=64)


class Stop(Intervention):
    """Commit a node and end the training process.

    ``when``: ``now``, at the end of the ``epoch``, or after the next ``checkpoint`` that the script
    makes by itself.
    """

    label, about = "Stop", "commit a node and end the process"
    awaits = "end"

    kind: Literal["stop"] = "stop"
    when: Literal["now", "epoch", "checkpoint"] = "now"

    def describe(self) -> str:
        """One line."""
        later = {"now": "", "epoch": " at the end of the epoch"}
        return "stop" + later.get(self.when, " after the next checkpoint")


class Evaluate(Intervention):
    """Evaluate now; the answer is the metrics."""

    label, about = "Evaluate", "evaluate now"
    makes_node = False

    kind: Literal["evaluate"] = "evaluate"

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Return it, if the run has something to evaluate with."""
        if not offers.evaluates:
            raise InvalidInput(
                "kind",
                "evaluate",
                "the other actions",
                what="The run has nothing to evaluate with: its script passed no evaluation.",
            )
        return self


class Checkpoint(Intervention):
    """Commit a node now; the answer is the node."""

    label, about = "Save checkpoint", "commit a node now"

    kind: Literal["checkpoint"] = "checkpoint"
    message: Text = ""


class Rewind(Intervention):
    """Go back to an earlier node of the run, and continue from there as a new branch, in place.

    ``name`` is the branch's; ``values`` are settings to change, as at a resume.
    """

    label, about = "Rewind", "go back to a node, and on from there as a new branch"
    awaits = "segment"

    kind: Literal["rewind"] = "rewind"
    node: str = Field(min_length=4, max_length=16)
    name: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)

    def describe(self) -> str:
        """One line."""
        more = ", ".join(f"{name} = {value}" for name, value in self.values.items())
        return f"rewind to {self.node}" + (f" with {more}" if more else "")


class _OfModules(Intervention):
    label = "Apply"
    replayed = True

    modules: Text

    def describe(self) -> str:
        """One line."""
        return f"{self.kind} {self.modules}"

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Return it, if its names and patterns match modules."""
        offers.check_modules(self.modules)
        return self


class Freeze(_OfModules):
    """Freeze modules or parameters, by name or pattern, in addition to those already frozen."""

    about = "no longer train"
    awaits, changes_settings = "update", True

    kind: Literal["freeze"] = "freeze"


class Unfreeze(_OfModules):
    """Let modules or parameters, by name or pattern, train again."""

    about = "train again"
    awaits, changes_settings = "update", True

    kind: Literal["unfreeze"] = "unfreeze"


class Reset(_OfModules):
    """Give modules, by name or pattern, fresh weights, and reset the optimizer's state for them."""

    about = "fresh weights"

    kind: Literal["reset"] = "reset"

    @classmethod
    def remark_of(cls, requested: Mapping[str, Any]) -> tuple[str, Any] | None:
        """Return ``reset`` with the modules."""
        return "reset", requested["modules"]


class ChangeData(Intervention):
    """Add shards to the data, remove some, or give them other weights, all or nothing.

    ``add`` has paths by name of the shard, ``weights`` numbers by name. ``fingerprints``: what the
    content of those added must be. A removal comes first, so that a shard can be replaced.
    """

    label, about = "Apply", "add, remove or reweight shards of the data"
    awaits, replayed, changes_settings = "update", True, True

    kind: Literal["data"] = "data"
    add: dict[str, Annotated[str, Field(min_length=1, max_length=4000)]] = Field(
        default_factory=dict
    )
    remove: list[str] = Field(default_factory=list)
    weights: dict[str, Weight] = Field(default_factory=dict)
    fingerprints: dict[str, Fingerprint] = Field(default_factory=dict)

    def describe(self) -> str:
        """One line: ``data: add chat=/data/chat.txt, remove code, prose weighs 2``."""
        added = [f"add {name}={path}" for name, path in self.add.items()]
        removed = [f"remove {name}" for name in self.remove]
        weighed = [f"{name} weighs {weight:g}" for name, weight in self.weights.items()]
        return "data: " + ", ".join([*added, *removed, *weighed])

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Return it, if the run's data has shards."""
        if SETTING not in declared:
            raise InvalidInput("kind", self.kind, "the other actions", what=NO_SHARDS)
        for name in self.fingerprints:
            if name not in self.add:
                raise InvalidInput(f"fingerprints.{name}", name, "shards that are added")
        return self


class Note(Intervention):
    """Add a remark to the event log; a run that has ended accepts it too."""

    label, about = "Add note", "add a remark to the audit log"
    makes_node = needs_process = False

    kind: Literal["note"] = "note"
    text: Annotated[str, Field(min_length=1, max_length=2000)]

    def describe(self) -> str:
        """One line."""
        return f"note: {self.text}"


class Act(Intervention):
    """Call one of the actions that the run's author registered."""

    label, about = "Apply", "call an action of the script"
    replayed = True

    kind: Literal["act"] = "act"
    action: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def names_of(cls, fields: Mapping[str, Any]) -> list[str]:
        """Return the action's name."""
        return [str(fields.get("action"))]

    @classmethod
    def remark_of(cls, requested: Mapping[str, Any]) -> tuple[str, Any] | None:
        """Return the action's name with the arguments."""
        return f"act.{requested['action']}", requested.get("arguments", {})

    def describe(self) -> str:
        """One line."""
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.action}({arguments})"

    def validated(self, declared: Mapping[str, Setting], offers: Capabilities) -> Self:
        """Return it with each argument as its parameter's type, and with defaults."""
        arguments = offers.action(self.action).validate(self.arguments)
        return self.model_copy(update={"arguments": arguments})


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
    | ChangeData
    | Note
    | Act
)
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Annotated[_Any, Field(discriminator="kind")])
#: Every kind with its model.
INTERVENTIONS: dict[str, type[Intervention]] = {
    model.model_fields["kind"].default: model for model in get_args(_Any)
}
#: The kinds that end as ``verified`` or ``ineffective``; the others end as ``done``.
SETTING_KINDS = tuple(kind for kind, model in INTERVENTIONS.items() if model.changes_settings)
#: The kinds that a certificate carries out again.
REPLAYED_KINDS = tuple(kind for kind, model in INTERVENTIONS.items() if model.replayed)


def read(payload: Mapping[str, Any]) -> Intervention:
    """Return the intervention of ``payload``, with only its fields checked.

    Raises:
        InvalidInput: unknown kind, unknown or missing field, or a value of the wrong type.
    """
    try:
        intervention: Intervention = _ADAPTER.validate_python(dict(payload))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(key) for key in first["loc"][1:]) or "kind"
        allowed = ", ".join(INTERVENTIONS) if field == "kind" else _allowed(first)
        is_missing = first["type"] == "missing"
        value = payload.get(field) if field == "kind" or is_missing else first.get("input")
        what = f"{field} is missing." if is_missing else ""
        raise InvalidInput(field, value, allowed, what=what) from error
    return intervention


def _allowed(problem: Mapping[str, Any]) -> str:
    """Return what a field may be, from pydantic's message on what it may not."""
    if problem["type"] == "extra_forbidden":
        return ", ".join(INTERVENTIONS[problem["loc"][0]].options()) or "no more than kind"
    if problem["type"] == "missing":
        return "a value"
    text = str(problem["msg"])
    return text.replace("Input should be", "").replace("String should have", "text of").strip()


def awaited_by(kind: str, requested: Mapping[str, Any]) -> Awaits:
    """Return when a request of any kind is over; an order of a launch is answered at once."""
    return INTERVENTIONS[kind].awaits_of(requested) if kind in INTERVENTIONS else "answer"


def has_settings(kind: str) -> bool:
    """Return whether requests of any kind are values of settings by name, and nothing else."""
    model = INTERVENTIONS.get(kind)
    return model is not None and model.changes_settings and "values" in model.options()


def names_of(kind: str, fields: Mapping[str, Any]) -> list[str]:
    """Return the names that a token's ``only`` has to allow, of any request.

    An order of a launch is stored as a request, and is no intervention.
    """
    if kind in INTERVENTIONS:
        return INTERVENTIONS[kind].names_of(fields)
    return [kind, *(fields.get("values") or ())]

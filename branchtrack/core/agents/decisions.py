"""What an agent can decide: one typed model each, which validates a language model's answer too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from branchtrack.core.plain_values import LARGEST
from branchtrack.errors import InvalidInput

Reason = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\w")]
NodeRef = Annotated[str, Field(min_length=4, max_length=120)]


class _Decision(BaseModel):
    """``branch`` is the branch of the run that it is about; None: the one that is watched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason
    branch: str | None = None


class Nothing(_Decision):
    """Leave everything as it is."""

    action: Literal["nothing"] = "nothing"


class Set(_Decision):
    """Change settings of the running training, all or none."""

    action: Literal["set"] = "set"
    values: dict[str, Any] = Field(min_length=1)


class Act(_Decision):
    """Have the training pause, continue, stop, evaluate or save."""

    action: Literal["pause", "unpause", "stop", "evaluate", "checkpoint"]


class Rollback(_Decision):
    """Go back to an earlier node of this branch, and on from there as a new branch, in place."""

    action: Literal["rollback"] = "rollback"
    node: NodeRef
    values: dict[str, Any] = Field(default_factory=dict)


class Fork(_Decision):
    """Train a new branch from a node in a process of its own; the running one goes on."""

    action: Literal["fork"] = "fork"
    node: NodeRef
    settings: dict[str, Any] = Field(default_factory=dict)
    name: str | None = None


class Try(_Decision):
    """Train pairs of forks of a node, with other settings and without: does the change help?

    As an order of a trial; ``steps`` are the updates of each training, ``repeats`` the pairs at
    most.
    """

    action: Literal["trial"] = "trial"
    node: NodeRef
    settings: dict[str, Any] = Field(min_length=1)
    steps: int = Field(100, ge=1, le=LARGEST)
    repeats: int = Field(8, ge=1, le=100)
    metric: str | None = None


Decision = Nothing | Set | Act | Rollback | Fork | Try
_ADAPTER: TypeAdapter[Decision] = TypeAdapter(Annotated[Decision, Field(discriminator="action")])


def read(answer: Mapping[str, Any]) -> Decision:
    """Return the decision in a JSON object.

    Raises:
        InvalidInput: an unknown action or field, a missing reason, or a value of the wrong type.
    """
    try:
        return _ADAPTER.validate_python(dict(answer), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(key) for key in first["loc"]) or "action"
        raise InvalidInput(field, first.get("input"), str(first["msg"])) from error


def schema() -> dict[str, Any]:
    """Return the JSON schema of an answer, for a prompt and for endpoints that follow one."""
    return _ADAPTER.json_schema()


def payload(decision: Decision) -> dict[str, Any]:
    """Return a decision about a running training as the payload of a request.

    A fork and a trial are no requests to the training: they are orders.
    """
    if isinstance(decision, Set):
        return {"kind": "set", "values": dict(decision.values)}
    if isinstance(decision, Rollback):
        return {"kind": "rewind", "node": decision.node, "values": dict(decision.values)}
    return {"kind": decision.action}


def describe(decision: Decision) -> str:
    """Return what a decision does, in a few words, without its reason."""
    if isinstance(decision, Set):
        return f"set {_pairs(decision.values)}"
    if isinstance(decision, Rollback):
        return f"roll back to {decision.node}" + _with(decision.values)
    if isinstance(decision, Fork):
        return f"fork {decision.node}" + _with(decision.settings)
    if isinstance(decision, Try):
        return f"try {_pairs(decision.settings)} at {decision.node} for {decision.steps:,} updates"
    return decision.action


def _with(values: Mapping[str, Any]) -> str:
    return f" with {_pairs(values)}" if values else ""


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {json.dumps(value, default=str)}" for name, value in values.items())

"""Changes along a branch, and their replay onto another training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Reason, Selection, Text, Values


class InterventionsQuery(Selection):
    """Which changes, and how their moments are written."""

    start: str | None = Field(None, alias="from", description="A node: only what came after it.")
    by: str = Field("step", description="`step`, `fraction`, or the name of a metric.")


class Intervention(Answer):
    """A change, with the fields of its kind beside these."""

    at: dict[str, Any]
    kind: str
    by: Literal["request", "resume", "script"]
    reason: str
    actor: str
    before: Values
    after: Values
    metrics: Values


class Interventions(Answer):
    """The changes along a branch in order: the header of a recording, and its lines."""

    format: str
    version: int
    run: str
    branch: str
    node: str
    step: int
    steps: int | None
    settings: Values
    interventions: list[Intervention]


class ReplayBody(Body):
    """A recording, to be made again by the training of a branch."""

    recording: Text = Field(description="The text of a file of `branchtrack interventions`.")
    reason: Reason = Field("", description="Why [as recorded]; agents must give one.")
    skip_past: bool = Field(False, description="Leave out changes whose step has passed.")
    dry_run: bool = Field(False, description="Only check; nothing is requested.")


class ReplayedChange(Answer):
    """A change that is made again, with its request; without one in a dry run."""

    line: int
    at: dict[str, Any]
    kind: str
    requested: Values
    recorded: Values
    replayed: Values
    request: str | None
    state: str | None
    step: int | None
    node: str | None
    error: str | None


class Replay(Answer):
    """What became of a recording: ``done`` and ``passed`` are lines that were left out."""

    changes: list[ReplayedChange]
    done: list[int]
    passed: list[int]

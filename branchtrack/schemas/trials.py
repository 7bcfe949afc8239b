"""Trials and reviews: what is tried, the pairs, and the verdicts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Moment, Number, Reason, Selection, Values
from branchtrack.schemas.nodes import Change, Tried

_Count = Annotated[int, Field(ge=1)]


class _Measure(Body):
    """How long is trained, and what is compared at the end."""

    steps: _Count = 100
    metric: str | None = Field(None, description="eval_loss, or loss, unless another is named.")
    margin: float | str | None = Field(
        None, description="The largest effect that does not matter: a number, or a share, `0.5%`."
    )
    reason: Reason = ""
    dry_run: bool = False


class TrialBody(_Measure):
    """An order of a trial: of ``settings``, of the node's own change, or of nothing."""

    settings: Values | None = None
    grid: dict[str, list[Any] | str] | None = Field(None, description="Lists of values by name.")
    nodes: list[str] | None = Field(None, description="Nodes beside that of the path.")
    repeats: _Count = 8
    same: bool = Field(False, description="Change nothing: is a repeat the same bits?")
    intervention: bool = Field(False, description="The change is the one that the node made.")
    name: str | None = Field(None, description="Name of the group of its branches.")
    priority: int | None = None
    labels: list[str] | None = None
    allow_code_change: bool = False
    on: str | None = Field(None, description="The profile of a cluster that is to train.")


class ReviewBody(_Measure):
    """An order of trials of all interventions of a run."""

    repeats: _Count = 6
    budget: int | None = Field(None, description="Updates of all trials together at most.")
    again: bool = Field(False, description="Try also what has a verdict already.")
    allow_code_change: bool = False


class CancelBody(Body):
    """Why a trial is ended, or its branches are removed."""

    reason: Reason = ""


class PromoteBody(Body):
    """The name that a trial's best branch, or ``branch``, gets as a branch of its own."""

    name: str
    branch: str | None = Field(None, description="One of its branches, if not the best one.")
    reason: Reason = ""


class TrialSide(Answer):
    """One training of a pair; the branch is null if it is gone."""

    branch: str | None
    launch: str | None
    state: str
    value: Number | None
    digest: str | None
    error: str | None


class TrialPair(Answer):
    """Trainings of one state with one seed: the control first, then that of each change."""

    number: int
    node: str
    step: int
    seed: int | None
    control: Number | None
    changed: Number | None
    difference: Number | None
    values: list[Number | None]
    sides: list[TrialSide | None]


class TrialNode(Answer):
    """A node that pairs begin at; the step is null if it was purged."""

    id: str
    step: int | None


class TrialHead(Answer):
    """A trial without its pairs; ``effect low high verdict`` are those of its first change."""

    id: str
    kind: str
    run: str
    group: str | None
    state: str
    error: str | None
    node: str
    nodes: list[TrialNode]
    metric: str
    higher_is_better: bool
    steps: int
    repeats: int
    at: list[int]
    most_steps: int
    effect: Number | None
    low: Number | None
    high: Number | None
    verdict: str
    changes: list[Tried]
    actor: str
    reason: str
    created_at: Moment
    updated_at: Moment


class Trial(TrialHead):
    """A trial with its pairs."""

    trained_steps: int
    floor: Number | None
    pairs: list[TrialPair]


class TrialPreview(Answer):
    """What a trial would train: each time ``steps`` updates, in all at most ``most_steps``."""

    nodes: list[str]
    changes: list[str]
    metric: str
    repeats: int
    at: list[int]
    steps: int
    most_steps: int
    launches: int


class TrialsQuery(Selection):
    """Which trials of a run, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: str | None = Field(None, description="`next` of the page before.")


class TrialPage(Answer):
    """Trials of a run, newest first; ``next`` is the ``before`` of the page of older ones."""

    items: ClassVar[str] = "trials"

    trials: list[TrialHead]
    total: int
    next: str | None


class ReviewedChange(Answer):
    """A change of a run with its verdict, or why it has none."""

    node: str
    branch: str
    step: int
    changes: list[Change]
    text: str
    actor: str
    trial: str | None
    state: str | None
    effect: Number | None
    low: Number | None
    high: Number | None
    verdict: str | None
    words: str | None
    pairs: int
    more: int | None
    why: str | None


class VerdictCounts(Answer):
    """How many changes have which verdict."""

    helped: int
    hurt: int
    none: int
    inconclusive: int
    pending: int
    untried: int


class Review(VerdictCounts):
    """The changes of a run with their verdicts; ``steps``: what new trials train at most."""

    items: ClassVar[str] = "changes"

    changes: list[ReviewedChange]
    authors: dict[str, VerdictCounts]
    steps: int


class RemovedBranches(Answer):
    """The branches of a trial that were moved to the trash."""

    trial: str
    branches: list[str]
    nodes: int


class Promoted(Answer):
    """A branch that was taken out of its trial."""

    run: str
    branch: str

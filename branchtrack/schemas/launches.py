"""Orders of launches, the queue, and launches with their output."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, RootModel

from branchtrack.core.queueing import MOST_PRIORITY, MOST_RETRIES
from branchtrack.schemas.bases import Answer, Body, Moment, Number, Reason, Selection, Values
from branchtrack.schemas.errors import Problem
from branchtrack.schemas.nodes import Change

_Lists = dict[str, list[Any] | str]


class TurnBody(Body):
    """When the processes of an order start, and whether under other code."""

    reason: Reason = ""
    priority: int | None = Field(None, ge=-MOST_PRIORITY, le=MOST_PRIORITY)
    labels: list[str] | None = Field(None, description="What a worker has to have.")
    retries: int = Field(0, ge=0, le=MOST_RETRIES)
    allow_code_change: bool = False
    on: str | None = Field(None, description="The profile of a cluster that is to train.")


class ContinueBody(TurnBody):
    """An order to go on in a branch."""

    settings: Values | None = None


class ResumeBody(ContinueBody):
    """An order of one branch from a node, or of several by lists, a grid, or more nodes."""

    grid: _Lists | None = Field(None, description="Lists of values by name.")
    nodes: list[str] | None = Field(None, description="Nodes beside that of the path.")
    name: str | None = Field(None, description="The branch's name, or the beginning of several.")
    group: str | None = None
    mode: Literal["exact", "weights"] | None = None
    without_change: bool = Field(False, description="As if the node's change had not been made.")
    dry_run: bool = False


class LaunchesQuery(Selection):
    """How many of the launches that have ended; those that have not are all in the answer."""

    limit: Annotated[int, Field(ge=1, le=200)] = 20
    before: str | None = Field(None, description="`next` of the page before.")


class LogQuery(Selection):
    """How much of an output."""

    lines: Annotated[int, Field(ge=1, le=400)] = 200


class Job(Answer):
    """The job of a launch on a cluster, with the cluster's own words for its state and reason."""

    kind: str
    id: str | None
    state: str | None
    host: str | None
    reason: str | None


class Launcher(Answer):
    """A profile of a cluster; its options are shown at the shell alone."""

    name: str
    kind: str


class Launchers(Answer):
    """The profiles of clusters that an order may name."""

    items: ClassVar[str] = "launchers"

    launchers: list[Launcher]


class QueueLine(Answer):
    """A launch in the queue: its place among those that wait, and why it waits."""

    launch: str
    run: str
    branch: str
    node: str
    state: str
    status: str
    position: int | None
    about: str
    priority: int
    labels: list[str]
    worker: str | None
    device: str | None
    launcher: str | None
    job: Job | None
    where: str
    pid: int | None
    step: int | None
    max_steps: int | None
    rate: Number | None
    expected_end: Moment | None
    cancel: str | None
    error: str | None
    actor: str
    reason: str
    created_at: Moment
    updated_at: Moment


class Worker(Answer):
    """A process that looks for launches, or carries one out."""

    name: str
    host: str
    slots: int
    busy: int
    labels: list[str]
    devices: list[str]
    heard_of: bool
    started_at: Moment
    heartbeat_at: Moment


class Queue(Answer):
    """Launches that have not ended, those that ended last, and the workers.

    ``next`` is the ``before`` of the page of earlier ends.
    """

    launches: list[QueueLine]
    ended: list[QueueLine]
    workers: list[Worker]
    total: int
    next: str | None


class Launch(Answer):
    """An order to train from a node, and what its process read back at its first update."""

    launch: str
    run: str
    branch: str
    group: str | None
    withdrawn: bool
    node: str
    fork_node: str | None
    state: str
    kind: str
    mode: str
    retries: int
    retry_of: str | None
    overrides: Values
    strict: bool
    environment: Values
    effective: Values | None
    restored: dict[str, str] | None
    compared: Values | None
    step: int | None
    max_steps: int | None
    priority: int
    labels: list[str]
    worker: str | None
    device: str | None
    launcher: str | None
    job: Job | None
    where: str
    cancel: str | None
    pid: int | None
    exit_code: int | None
    error: str | None
    log: str | None
    actor: str
    reason: str
    created_at: Moment
    updated_at: Moment


class LaunchInQueue(Launch):
    """A launch with its place in the queue, or its progress."""

    status: str
    position: int | None
    about: str
    rate: Number | None
    expected_end: Moment | None


class Ordered(RootModel[Launch | list[Launch]]):
    """The launch that was ordered, or a list of them if there are several."""


class Log(Answer):
    """The end of what a launch's process printed; empty if its log is on another machine."""

    launch: str
    state: str
    text: str


class PreviewedBranch(Answer):
    """What one branch of an order would be, or why it is refused."""

    run: str
    branch: str
    node: str
    step: int
    asked: Values
    mode: str
    overrides: Values
    relative: Values
    changes: list[Change]
    steps: int | None
    max_steps: int | None
    restored: dict[str, str]
    identical: list[Values]
    warnings: list[str]
    error: Problem | None


class OrderPreview(Answer):
    """What an order would create; ``steps`` in all, null if that of a branch is not known."""

    items: ClassVar[str] = "branches"

    group: str | None
    branches: list[PreviewedBranch]
    steps: int | None
    refused: int

"""Runs, branches, trees, and the labels that people give."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Moment, Number, Reason, Selection, Text, Values
from branchtrack.schemas.nodes import NodeVerdict, TreeNode


class RunsQuery(Selection):
    """Which runs, the latest created first as long as neither query nor order is given."""

    query: str = Field("", description="What holds of the runs, see docs/finding.md.")
    sort: str = Field(
        "", description="A column, as lr or best(eval_loss); -updated from the highest."
    )
    columns: str = Field("", description="Settings and metrics whose values are in `values`.")
    archived: bool = Field(False, description="With a query: those that are archived, too.")
    limit: Annotated[int, Field(ge=1, le=5000)] = 500
    after: str | None = Field(None, description="`next` of the page before.")


class RunLine(Answer):
    """A run as it is listed."""

    id: str
    name: str
    status: str
    shown: str | None = Field(None, description="`submitted` or `starting`: the job of a cluster.")
    branches: int
    nodes: int
    tags: list[str]
    archived: bool
    pinned: bool
    created_at: Moment
    updated_at: Moment
    values: Values | None = None
    group: Any = None


class RunPage(Answer):
    """Runs; ``total`` of all that match, ``hidden`` of them archived.

    ``hints`` say which columns, or names in a query without matches, no run has.
    """

    items: ClassVar[str] = "runs"

    runs: list[RunLine]
    total: int
    next: str | None
    hidden: int | None = None
    hints: list[str] | None = None


class RunFacts(Answer):
    """A run in its tree; ``entry_point`` is the command that can start it again."""

    id: str
    name: str
    default_branch: str
    tags: list[str]
    notes: str
    entry_point: Values | None
    created_at: Moment
    updated_at: Moment


class Run(RunFacts):
    """A run without its tree; ``policy`` is that of retention, null if all is kept."""

    status: str
    archived: bool
    pinned: bool
    branches: int
    nodes: int
    policy: Values | None


class Certificate(Answer):
    """A stretch that was trained again, and whether it reached the same state, bit for bit."""

    id: str
    branch: str
    from_node: str = Field(alias="from")
    to: str
    from_step: int
    to_step: int
    steps: int
    exact: bool
    state: str
    words: str
    difference: Values | None
    untested: list[str]
    environment: Values
    digest: str
    actor: str
    created_at: Moment


class BranchLine(Answer):
    """A branch; ``saves`` counts the nodes that were due, ``gone`` is about a lost one."""

    id: str
    name: str
    group: str | None
    status: str
    shown: str | None = Field(None, description="`submitted` or `starting`: the job of a cluster.")
    live: bool
    tags: list[str]
    notes: str
    archived: bool
    pinned: bool
    gone: bool | None
    head: str | None
    forked_from: str | None
    step: int | None
    max_steps: int | None
    rate: Number | None
    error: str | None
    where: str = Field(description="Where its launch is in a cluster; empty without one.")
    saves: Any
    certificate: Certificate | None
    created_at: Moment


class BranchList(Answer):
    """The branches of a run in order of creation."""

    items: ClassVar[str] = "branches"

    run: str
    branches: list[BranchLine]


class RefusedLaunch(Answer):
    """The newest launch of a run whose process trained nothing."""

    launch: str
    branch: str | None
    node: str
    error: str | None
    log: str | None
    created_at: Moment


class Trouble(Answer):
    """What cannot be recorded at present."""

    branch: str
    step: int | None
    since: Moment
    reason: str


class TriedHere(NodeVerdict):
    """A change that was tried from ``nodes``; its branches are ``group``, if they are left."""

    group: str | None
    nodes: list[str]


class Tree(Answer):
    """A run with all its branches, and its nodes, oldest first."""

    run: RunFacts
    branches: list[BranchLine]
    nodes: list[TreeNode]
    trials: list[TriedHere]
    refused: RefusedLaunch | None
    troubles: list[Trouble]


class LabelsBody(Body):
    """What people call a run or a branch: all of it is changed, or nothing."""

    name: str | None = None
    notes: Text | None = None
    archived: bool | None = None
    pinned: bool | None = None
    add_tags: list[str] = []
    remove_tags: list[str] = []
    reason: Reason = ""


class Labels(Answer):
    """What people call a run, a branch or a node, which has tags alone."""

    kind: str
    id: str
    tags: list[str]
    name: str | None = None
    notes: Text | None = None
    archived: bool | None = None
    pinned: bool | None = None

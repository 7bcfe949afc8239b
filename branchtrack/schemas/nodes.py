"""Nodes, what ran when they were made, pins, and whether they are whole."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Moment, Number, Selection, Values, Whole

_MOST = 1000


class NodesQuery(Selection):
    """Which nodes of a run, in the order in which they were committed."""

    limit: Annotated[int, Field(ge=1, le=_MOST)] = 500
    after: Whole = Field(0, description="`next` of the page before.")
    branch: str | None = None
    kind: Literal["root", "checkpoint", "intervention", "fork", "merge", "final"] | None = None


class Change(Answer):
    """A setting's value before and after a node; ``step`` if it took effect at another."""

    name: str
    before: Any
    after: Any
    step: int | None = None


class NodeLine(Answer):
    """A node as it is listed; ``thinned`` is what retention left of it: recipe or weights."""

    id: str
    branch: str
    parent: str | None
    merge_parent: str | None
    step: int
    epoch: float
    kind: str
    changes: list[Change]
    message: str
    actor: str
    state_digest: str
    restore: str | None
    metrics: dict[str, Number | None]
    durable: bool
    thinned: str | None
    created_at: Moment


class Tried(Answer):
    """What the pairs of one change show; ``verdict`` is ``pending`` until it is settled.

    ``effect`` is changed less control, in the unit of the metric; ``more`` the repeats that would
    presumably settle it; ``coverage`` that of the interval.
    """

    label: str
    settings: Values
    verdict: str
    words: str
    effect: Number | None
    low: Number | None
    high: Number | None
    error: Number | None
    margin: Number
    floor: Number
    coverage: Number
    pairs: int
    diverged: int
    more: int | None
    why: str
    level: Number


class NodeVerdict(Tried):
    """What a trial of a node's own change shows."""

    trial: str
    state: str


class TreeNode(NodeLine):
    """A node of a tree, with the verdict on its own change if that was tried."""

    verdict: NodeVerdict | None


class NumberedNode(TreeNode):
    """A node with its number, the cursor of a page that ends with it."""

    seq: int


class NodePage(Answer):
    """Nodes in the order in which they were committed."""

    items: ClassVar[str] = "nodes"

    nodes: list[NumberedNode]
    total: int
    next: int | None


class Checkpoint(Answer):
    """What a node's state takes up, and its files."""

    tensors: int
    logical_bytes: int
    stored_bytes: int
    thinned: str | None
    files: list[str]


class Code(Answer):
    """What ran in the last process on the way to a node.

    ``diff`` is the uncommitted difference as text; ``packages`` are all that were installed,
    ``imported`` the versions of those that were used.
    """

    command: str
    cwd: str | None
    python: str | None
    commit: str | None
    branch: str | None
    seeds: Values
    diff: str | None
    diff_bytes: int | None
    diff_cut: bool
    untracked: list[str]
    untracked_count: int
    jobs: Values
    imported: Values
    packages: list[str]
    sources: list[str]


class NodeCode(Answer):
    """What ran when a node was made; ``code`` is null if that was not recorded."""

    node: str
    run: str
    code: Code | None


class Node(NodeLine):
    """A node with its whole record."""

    run: str
    settings: Values
    param_groups: list[Values]
    effective: Values | None
    restored: dict[str, str] | None
    compared: Values | None
    verdict: NodeVerdict | None
    environment: Values
    code: Code | None
    children: list[str]
    checkpoint: Checkpoint


class Pin(Answer):
    """Whether a node's checkpoint stays whatever a policy says, and whether that is new."""

    node: str
    pinned: bool
    changed: bool


class Verdict(Answer):
    """Whether a node is as it was written; ``problem`` says in what it is not."""

    kind: str
    node: str
    step: int | None
    state_digest: str | None
    thinned: str | None
    whole: bool
    problem: str | None


class NoFields(Body):
    """An empty body."""

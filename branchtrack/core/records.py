"""The immutable values that travel between layers: what the database returns and pages show.

Times are seconds since 1970 (UTC). They know nothing of SQL, files or torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TensorLocation:
    """Where the bytes of one tensor are: ``offset`` and ``nbytes`` count from the file's start."""

    digest: str
    pack: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class WrittenPack:
    """A pack as written; ``nbytes`` is the file's length, with one location per digest."""

    id: str
    nbytes: int
    locations: tuple[TensorLocation, ...]


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint's manifest as JSON, and the location of every digest that it names.

    ``thinned`` is what retention left of it: ``recipe``, ``weights``, or None for all of it.
    """

    digest: str
    manifest: dict[str, Any]
    locations: dict[str, TensorLocation]
    tensors: int
    logical_bytes: int
    stored_bytes: int
    thinned: str | None = None


@dataclass(frozen=True)
class Change:
    """One setting's value before and after a node.

    ``step`` is where ``after`` took effect if that is not the node's step: where no node could be
    created for the change.
    """

    name: str
    before: Any
    after: Any
    step: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: ``name before after``, and ``step`` if it is not the node's."""
        step_field = {} if self.step is None else {"step": self.step}
        return {"name": self.name, "before": self.before, "after": self.after, **step_field}


@dataclass(frozen=True)
class Run:
    """One tree. ``entry_point`` is the command that can start its training again.

    ``command`` is the digest by which the same command, started again, finds it.
    ``training`` says which training of its script it is: ``name`` as requested, ``number`` in its
    process and ``of_name`` among those of that name, both from 1, and ``process``, an id that all
    trainings of one execution of the script share. It is empty for runs of earlier versions.
    ``retention`` is the policy by which ``gc`` thins the run; None keeps everything.
    ``trashed_at``: it is deleted and can be restored; ``purged_at``: only its events remain.
    ``watch`` is what its trainings are watched for (see `core.health.rules`); None: the defaults.
    ``pinned_at``: it stands first in lists.
    """

    id: str
    name: str
    default_branch: str
    entry_point: dict[str, Any] | None
    tags: list[str]
    notes: str
    created_at: float
    updated_at: float
    command: str | None = None
    archived_at: float | None = None
    trashed_at: float | None = None
    retention: dict[str, Any] | None = None
    purged_at: float | None = None
    watch: dict[str, Any] | None = None
    pinned_at: float | None = None

    @property
    def training(self) -> dict[str, Any]:
        """Which training of its script it is."""
        facts: dict[str, Any] = (self.entry_point or {}).get("training") or {}
        return facts


@dataclass(frozen=True)
class Branch:
    """A named line through the tree; ``position`` counts branches of the run from 0.

    ``group_id`` is the group that it was ordered with. One in the trash is deleted later.
    """

    id: str
    run_id: str
    name: str
    position: int
    start_node_id: str | None
    head_id: str | None
    segment_id: str | None
    created_at: float
    group_id: str | None = None
    archived_at: float | None = None
    trashed_at: float | None = None
    tags: list[str] | None = None
    notes: str | None = None
    pinned_at: float | None = None


@dataclass(frozen=True)
class Group:
    """Branches made by one order; ``kind``: ``values``, ``grid`` or ``horizons``."""

    id: str
    run_id: str
    name: str
    kind: str
    actor: str
    reason: str
    created_at: float


@dataclass(frozen=True)
class Segment:
    """The stretch of a branch trained by one process; ``status`` as stored (see lifecycle).

    ``script`` is what the script itself requested, whatever the node that it resumed says.
    ``offers`` holds what else than settings its process accepts (see `core.capabilities`).
    ``process`` identifies the process permanently, and ``gone`` says whether it has ended, as far
    as could be seen when this was read: None for a process on another machine.
    ``environment`` are the variables and modules that its script had (see `core.variables`).
    ``saves`` counts the nodes that were due: ``due`` and ``made``, and the steps ``missed``.
    ``code`` is what ran: ``command cwd python executable seeds jobs commit branch untracked``,
    ``imported`` (versions of packages by name), and as digests of texts ``diff``, ``packages`` and
    ``sources`` (the script's own files by path).
    """

    id: str
    run_id: str
    branch_id: str
    position: int
    start_node_id: str | None
    status: str
    pid: int | None
    host: str | None
    step: int
    max_steps: int | None
    rate: float | None
    declared: list[dict[str, Any]]
    settings: dict[str, Any]
    script: dict[str, Any] | None
    error: str | None
    started_at: float | None
    heartbeat_at: float | None
    ended_at: float | None
    offers: dict[str, Any] = field(default_factory=dict)
    process: str | None = None
    saves: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    code: dict[str, Any] | None = None
    gone: bool | None = None


@dataclass(frozen=True)
class Node:
    """A commit. ``metrics`` are the last values logged on its branch up to its step.

    ``param_groups`` are the optimizer's groups as torch spells them, without parameters.
    ``restored`` says for each part of the state whether it was restored, reset or replaced;
    ``effective`` holds values read back from where the maths used them one update later.
    ``proof`` is the content of the update after the node, made by the process that created the
    node; ``compared`` is how the first update of a resume compares with it.
    ``merge_parent_id`` is the second parent of a merge.
    """

    seq: int
    id: str
    run_id: str
    branch_id: str
    segment_id: str
    parent_id: str | None
    step: int
    epoch: float
    kind: str
    changes: tuple[Change, ...]
    settings: dict[str, Any]
    param_groups: list[dict[str, Any]]
    metrics: dict[str, float | None]
    state_digest: str
    message: str
    actor: str
    environment: dict[str, Any]
    restored: dict[str, str] | None
    effective: dict[str, Any] | None
    created_at: float
    proof: dict[str, Any] | None = None
    compared: dict[str, Any] | None = None
    merge_parent_id: str | None = None
    pinned_at: float | None = None
    tags: list[str] | None = None
    logged_seq: int | None = None


@dataclass(frozen=True)
class NewNode:
    """What a training process knows of a node that it wants committed."""

    run_id: str
    branch_id: str
    segment_id: str
    parent_id: str | None
    step: int
    epoch: float
    kind: str
    state_digest: str
    settings: dict[str, Any]
    param_groups: list[dict[str, Any]]
    changes: tuple[Change, ...] = ()
    metrics: dict[str, float | None] = field(default_factory=dict)
    message: str = ""
    actor: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    restored: dict[str, str] | None = None
    effective: dict[str, Any] | None = None
    merge_parent_id: str | None = None


@dataclass(frozen=True)
class Request:
    """An intervention that was requested. ``payload`` is as sent, ``requested`` normalised.

    ``conditions`` as in `core.preconditions`; ``key`` identifies a request sent twice.
    ``asked_step`` is the branch's step at the request, ``run_steps`` the updates that the whole run
    had made. ``channel`` is its origin: ``shell``, ``web``, ``api``, ``python`` or ``run``.
    ``cancel`` names the actor that wants it cancelled: only the process that it is for can tell
    whether that was in time. ``agent_id`` is the agent that made it; ``decided_by`` approved or
    declined it if it was a proposal.
    """

    seq: int
    id: str
    run_id: str
    branch_id: str
    segment_id: str | None
    kind: str
    payload: dict[str, Any]
    requested: dict[str, Any]
    actor: str
    reason: str
    state: str
    error: str | None
    before: dict[str, Any] | None
    applied: dict[str, Any] | None
    effective: dict[str, Any] | None
    result: dict[str, Any] | None
    step: int | None
    node_id: str | None
    created_at: float
    updated_at: float
    key: str | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    asked_step: int | None = None
    run_steps: int | None = None
    token_id: str | None = None
    channel: str = "shell"
    cancel: str | None = None
    logged_seq: int | None = None
    agent_id: str | None = None
    decided_by: str | None = None


@dataclass(frozen=True)
class Refusals:
    """How often an actor was refused on a branch, beyond the requests kept as ``rejected``.

    ``kind`` is the error's class, ``first_at`` and ``last_at`` are seconds since 1970.
    """

    run_id: str
    branch_id: str
    actor: str
    kind: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True)
class Token:
    """What a person or a program presents for access, without the secret itself.

    ``only`` are the names of settings and actions that it is valid for (patterns; None: all), and
    ``limit`` how many requests it may make in any 1,000 updates of one run.
    """

    id: str
    name: str
    role: str
    only: tuple[str, ...] | None
    limit: int | None
    created_by: str
    created_at: float
    used_at: float | None
    revoked_at: float | None


@dataclass(frozen=True)
class Launch:
    """An order to start a process that trains from ``node_id`` on branch ``branch_id``.

    ``environment``: variables chosen for it (``given``), whether it keeps those of the process that
    starts it (``keep``), and what was restored. ``strict``: it ends if its first update is not that
    of the node's own continuation.

    ``branch`` is the branch's name when it was ordered: branch, segment and fork node are gone if
    the process refused before it trained. ``entry_point`` is the command if it is not the run's
    own.

    ``kind`` is ``continue`` if it goes on in the branch of its node, else None. A higher
    ``priority`` is started first (None: 0); a worker needs all ``labels``. ``retries`` is how
    often it may still be started again after a crash, ``retry_of`` the launch it repeats.
    ``device`` is what its worker gave it, and ``cancel`` who wants it ended.

    ``launcher`` (``name kind options``) carries it out if workers of the home do not; then ``job``
    is its job there, ``job_state`` and ``job_reason`` what the cluster last said of it, and
    ``job_host`` where it runs.
    """

    seq: int
    id: str
    run_id: str
    node_id: str
    fork_node_id: str
    branch_id: str
    segment_id: str
    mode: str
    overrides: dict[str, Any]
    actor: str
    reason: str
    state: str
    worker: str | None
    pid: int | None
    exit_code: int | None
    error: str | None
    log: str | None
    created_at: float
    updated_at: float
    strict: bool = False
    environment: dict[str, Any] | None = None
    branch: str | None = None
    entry_point: dict[str, Any] | None = None
    kind: str | None = None
    group_id: str | None = None
    priority: int | None = None
    labels: list[str] | None = None
    retries: int | None = None
    retry_of: str | None = None
    device: str | None = None
    cancel: str | None = None
    logged_seq: int | None = None
    launcher: dict[str, Any] | None = None
    job: str | None = None
    job_state: str | None = None
    job_host: str | None = None
    job_reason: str | None = None


@dataclass(frozen=True)
class WorkerRow:
    """A worker process that was seen: ``slots`` launches at a time, on ``devices`` of ``host``."""

    name: str
    host: str
    slots: int
    labels: list[str]
    devices: list[str]
    started_at: float
    heartbeat_at: float


@dataclass(frozen=True)
class Certificate:
    """The result of training from one node of a branch to another again, in a new process.

    ``digest`` is the state digest that the second training reached. ``difference`` is None if it
    equals the node's; else ``name`` (the first tensor or value that differs), ``kind``
    (``tensor`` or ``state``), ``expected`` and ``found``. ``untested`` are the reasons why this
    implies nothing for other steps: parts outside of what the project's own tests cover.
    """

    id: str
    run_id: str
    branch_id: str
    from_node_id: str
    to_node_id: str
    digest: str
    difference: dict[str, Any] | None
    untested: list[str]
    environment: dict[str, Any]
    actor: str
    created_at: float

    @property
    def exact(self) -> bool:
        """Whether both trainings reached the same state, bit for bit."""
        return self.difference is None


#: The key in an event's payload for the digest of all that a row says, see `db.seals.contents`.
CONTENTS = "contents"


@dataclass(frozen=True)
class Event:
    """One line of a run's append-only, hash-chained log."""

    id: int
    run_id: str
    seq: int
    time: float
    actor: str
    kind: str
    ref: str
    state: str
    step: int | None
    payload: dict[str, Any]
    reason: str
    hash: str

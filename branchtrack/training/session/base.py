"""What a training process resumes, and what its sessions have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import leftovers
from branchtrack.core.builtin_settings import RESHUFFLE, SEED, STOP_AT
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.training.record.committer import Point
from branchtrack.training.session.proof import Witness
from branchtrack.training.session.signals import Signals
from branchtrack.training.settings.live import Live
from branchtrack.training.state import snapshots
from branchtrack.training.steer.answers import Expectation
from branchtrack.training.steer.effects import Probe

Result = TypeVar("Result")


@dataclass(frozen=True)
class Base:
    """What a launched process resumes: the fork node, and the state it stands for.

    ``origin`` is the node that was trained last on the way to it, ``script`` what its script
    requested (None if it was not recorded), and ``overrides`` the changes declared since.
    ``reshuffles`` are the seeds from which the rest of the epoch is to be drawn anew, in order.
    ``mode`` is ``exact`` or ``weights``; ``strict`` ends training if its first update is not what
    the node's own continuation was. ``parts`` describes, by name, what happened to parts of the
    state that were not simply restored, once they are.
    """

    fork: Node
    snapshot: snapshots.Snapshot
    origin: Node
    mode: str = "exact"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    script: Mapping[str, Any] | None = None
    strict: bool = False
    reshuffles: Sequence[int] = ()
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def stop_at(self) -> int | None:
        """The step at which this process ends; what only an earlier fork declared is over."""
        declared = {change.name: change.after for change in self.fork.changes}
        return declared.get(STOP_AT.name)

    @property
    def seed(self) -> int | None:
        """The seed of all that is drawn from here on; None: the node's states go on.

        The node's own seed is one, too, if the rest of its epoch is drawn anew.
        """
        if self.reshuffles and SEED.name not in self.overrides:
            return self.reshuffles[-1]
        return self.overrides.get(SEED.name)


class BaseSession:
    """What every `protocol.TrainingSession` has: the record, what it resumes, what a loop tells it.

    ``uncovered`` is what the loop knows about itself that no test covers; ``actions`` are the
    functions that its author registered, by name. ``unrestored`` is the state that differs from the
    node's although it was restored (name -> expected, found), ``not_restored`` names what could not
    be restored.
    """

    #: Whether it takes a segment and records what is trained in it.
    records = False
    #: Whether the control point of an update follows it at once, with nothing in between.
    meets_at_once = False
    #: Whether it is not to be trained at all: see `passed_over`.
    passes_over = False

    def __init__(self, database: Database, store: Store, base: Base | None) -> None:
        self.store, self.base = store, base
        self.actor = f"run ({control.local_actor()})"
        self.uncovered: list[str] = []
        self.actions: dict[str, Callable[..., Any]] = {}
        self.evaluates = True
        self.expecting: Expectation | None = None
        self.witness: Witness | None = None
        self.unrestored: dict[str, tuple[Any, Any]] = {}
        self.not_restored: list[str] = []
        self._database = database

    def read(self, query: Callable[..., Result], *arguments: Any) -> Result:
        """Return the result of ``query(connection, *arguments)``."""
        with self._database.read() as connection:
            return query(connection, *arguments)

    @property
    def database_name(self) -> str:
        """The name of the database that packs in the store are marked with."""
        return leftovers.name_of(self._database, self.store)

    def ready(self, point: Point) -> None:
        """Do nothing: training begins."""

    def restore_attributes(self, live: Live, stored: Mapping[str, Any]) -> None:
        """Restore what objects kept in attributes, and note what differs afterwards.

        Raises:
            CheckpointMismatch: the tracked objects are not those of the node.
        """
        assert live.attributes is not None
        live.attributes.restore(stored)
        self.unrestored = live.attributes.differing(stored)
        self.not_restored += live.attributes.omitted(stored)

    def release_snapshot(self) -> None:
        """Free the memory of what is resumed, a full copy of the state: it has been restored."""
        if self.base is not None:
            self.base.snapshot.tensors.clear()


class UnrecordedSession(BaseSession):
    """A session that leaves nothing of its training in the record: it has no segment.

    No request reaches it, and nothing is expected of its updates. Its ``signals`` are never noted:
    the process keeps its own handlers.
    """

    rewinds = is_reading = False

    def __init__(self, database: Database, store: Store, base: Base | None) -> None:
        super().__init__(database, store, base)
        step = 0 if base is None else base.fork.step
        self.signals = Signals(lambda: step, lambda: None, lambda: None)

    @property
    def probe(self) -> Probe:
        """No probe: nothing is expected."""
        raise RuntimeError("Nothing is expected of an update that is not recorded.")

    def own_branch(self) -> str | None:
        """Return None: it has no branch of its own."""
        return None

    def commit_root(self, point: Point, about: str) -> None:
        """Do nothing: the state before the first update is no node."""

    def before_update(self, live: Live, step: int) -> None:
        """Do nothing: nothing is expected."""

    def after_update(self, live: Live) -> None:
        """Do nothing: nothing was read."""

    def prove(self, step: int, live: Live) -> None:
        """Do nothing: nothing watches the update."""

    def finish_update(self, live: Live) -> None:
        """Do nothing: nothing was read."""

    def settle(self, step: int, readings: Sequence[Mapping[str, Any]], live: Live) -> None:
        """Do nothing: nothing was expected."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Do nothing: it was logged when this was trained first."""

    def log_each(self, step: int, values: Mapping[str, Any]) -> None:
        """Do nothing: it was logged when this was trained first."""

    def note_evaluation(self, step: int) -> None:
        """Do nothing: it evaluates for nobody."""

    def alert(
        self, step: int, text: object, level: str, metric: str | None, value: float | None
    ) -> None:
        """Do nothing: it was said when this was trained first."""

    def when_durable(self, job: Callable[[str], None]) -> None:
        """Do nothing: there is no node."""


def origin(connection: Connection, fork: Node) -> tuple[Node, dict[str, Any]]:
    """Return the node trained last on the way to a fork node, and all that was declared since."""
    node, forks = _untrained(connection, fork)
    declared = {change.name: change.after for step in forks for change in step.changes}
    return node, declared


def reshuffles(connection: Connection, fork: Node) -> tuple[int, ...]:
    """Return the seeds from which the rest of the epoch was declared to be drawn anew since the
    node trained last on the way to a fork node, oldest first.
    """
    _node, forks = _untrained(connection, fork)
    return tuple(
        step.settings[SEED.name]
        for step in forks
        if any(change.name == RESHUFFLE.name and change.after for change in step.changes)
    )


def _untrained(connection: Connection, fork: Node) -> tuple[Node, list[Node]]:
    """Return the node trained last on the way to a fork node, and the forks since, oldest first."""
    forks: list[Node] = []
    node = fork
    while node.kind == "fork" and node.parent_id is not None:
        forks.insert(0, node)
        node = nodes.get(connection, node.parent_id)
    return node, forks

"""What a Trainer or a loop uses of the session of its training, whichever kind it is.

`session.Session` records, `replay.ReplaySession` compares a repetition with the record, and
`passed_over.PassedOver` keeps a training from being made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from branchtrack.checkpoints.packs import Store
from branchtrack.training.record.committer import Point
from branchtrack.training.session.base import Base
from branchtrack.training.session.proof import Witness
from branchtrack.training.session.signals import Signals
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.answers import Expectation
from branchtrack.training.steer.effects import Probe

Result = TypeVar("Result")


class TrainingSession(Protocol):
    """One process's part in a run, as its loop sees it.

    A loop calls `begin`, `commit_root` and `ready`, then for each update `before_update`,
    `after_update`, `log`, `advance`, `finish_update` and `control_point`, and `close` in any case.
    It sets ``uncovered``, ``actions``, ``evaluates`` and ``not_restored`` (see `base.BaseSession`).
    """

    uncovered: list[str]
    actions: dict[str, Callable[..., Any]]
    evaluates: bool
    not_restored: list[str]
    meets_at_once: bool

    @property
    def records(self) -> bool:
        """Whether it takes a segment and records what is trained in it."""

    @property
    def passes_over(self) -> bool:
        """Whether it is not to be trained at all."""

    @property
    def base(self) -> Base | None:
        """What it resumes; None for a new run."""

    @property
    def store(self) -> Store:
        """The store that has the bytes of nodes."""

    @property
    def signals(self) -> Signals:
        """The signals of the process, noted between ``on`` and ``off``."""

    @property
    def is_begun(self) -> bool:
        """Whether `begin` was called, so that the other calls have a meaning."""

    @property
    def stop_asked(self) -> bool:
        """Whether the loop should end."""

    @property
    def is_called(self) -> bool:
        """Whether the loop should reach a control point at once."""

    @property
    def rewinds(self) -> bool:
        """Whether training ends here because it continues elsewhere."""

    @property
    def expecting(self) -> Expectation | None:
        """What is expected of the next update."""

    @property
    def witness(self) -> Witness | None:
        """What watches the next update, if it is the first after a node."""

    @property
    def is_reading(self) -> bool:
        """Whether `before_update` has read something that `after_update` is to compare."""

    @property
    def probe(self) -> Probe:
        """A probe that compares the coming update with one without a change."""

    def read(self, query: Callable[..., Result], *arguments: Any) -> Result:
        """Return the result of ``query(connection, *arguments)``."""

    def own_branch(self) -> str | None:
        """Return the name of the branch, unless it is the one that its run began with."""

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Begin to train; a loop that restarts may call this again."""

    def commit_root(self, point: Point, about: str) -> None:
        """Note the state before the first update; ``about`` describes the model."""

    def ready(self, point: Point) -> None:
        """Note that all is restored, and the first update comes next; may be called again."""

    def restore_attributes(self, live: Live, stored: Mapping[str, Any]) -> None:
        """Restore what objects kept in attributes, and note what differs afterwards."""

    def before_update(self, live: Live, step: int) -> None:
        """Read back what update ``step`` is about to use, between backward and the update."""

    def after_update(self, live: Live) -> None:
        """Read back again right after the update."""

    def advance(self, step: int) -> None:
        """Note that ``step`` updates have been made."""

    def prove(self, step: int, live: Live) -> None:
        """Record the content of update ``step`` if it is the first after a node."""

    def finish_update(self, live: Live) -> None:
        """Report what the update made of its expectations, if it was read."""

    def settle(self, step: int, readings: Sequence[Mapping[str, Any]], live: Live) -> None:
        """Do as `finish_update`, for a loop that reads by itself."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step."""

    def log_each(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step, of each process as a series of its own."""

    def note_evaluation(self, step: int) -> None:
        """Note that the loop itself has just evaluated, and logged what came of it."""

    def alert(
        self, step: int, text: object, level: str, metric: str | None, value: float | None
    ) -> None:
        """Record what the script wants people to know."""

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return whether anything is to be done at a control point."""

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Carry out what was requested, and note the state where that is due."""

    def when_durable(self, job: Callable[[str], None]) -> None:
        """Call ``job`` with the newest node's id once that node is in the record."""

    def ignored(self) -> None:
        """Note that the loop continues although it should end."""

    def close(self, status: str, error: str | None = None) -> None:
        """End as ``finished``, ``stopped`` or ``failed``."""

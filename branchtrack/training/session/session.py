"""A training process's part in a run: its segment, its control points, its nodes.

Serves any PyTorch loop; a loop passes live objects and calls it between updates. The training
thread only tests flags, applies and copies; all I/O is the recorder's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from branchtrack import config as configuration
from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.capabilities import Capabilities
from branchtrack.core.catalog import AT_RESUME, DIRECTIVES
from branchtrack.core.interventions import awaited_by
from branchtrack.core.records import Node, Request, Segment
from branchtrack.db import audit, nodes, requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import IllegalTransition, InvalidInput, StorageError
from branchtrack.training.record import environment, logged_values
from branchtrack.training.record.committer import Committer, Point
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.session import registration, restoration
from branchtrack.training.session.beginnings import Beginning, NewRun
from branchtrack.training.session.rewind import Rewinder
from branchtrack.training.session.signals import Signals
from branchtrack.training.session.updates import Updates
from branchtrack.training.settings import apply, modules
from branchtrack.training.settings.apply import Live
from branchtrack.training.state import snapshots
from branchtrack.training.steer import answers, author_actions, execution
from branchtrack.training.steer.answers import Answer, Expectation
from branchtrack.training.steer.execution import Scene

logger = logging.getLogger("branchtrack")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Base:
    """What a launched process resumes: the fork node, and the state it stands for.

    ``origin`` is the node that was trained last on the way to it, ``script`` what its script
    requested (None if it was not recorded), and ``overrides`` the changes declared since.
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
    parts: dict[str, str] = field(default_factory=dict)


class Session(Updates):
    """One segment, from opening the database to the last record.

    A loop calls `begin` and `commit_root`, then for each update `before_update`, `after_update`,
    `log`, `finish_update` and `control_point`, and `close` in any case. ``uncovered`` is what the
    loop knows about itself that no test covers; ``actions`` are the functions that its author
    registered, by name. ``rewinds`` is true once it ends so that this process restarts elsewhere.
    ``prepare`` opens the home of a new run, again if it could not be opened.
    """

    #: Whether it only repeats what was trained before, and must leave nothing behind.
    rehearses = False
    #: Whether it is not to be trained at all: see `passed_over`.
    passes_over = False

    def __init__(
        self,
        database: Database,
        store: Store,
        base: Base | None,
        beginning: Beginning | None = None,
        started_by: tuple[str, str | None] | None = None,
    ) -> None:
        super().__init__(database, f"run ({control.local_actor()})")
        self.base = base
        self.stop_asked = False
        self.uncovered: list[str] = []
        self.actions: dict[str, Callable[..., Any]] = {}
        self.evaluates = True
        self.signals = Signals(self._note, self._interrupt, lambda: self.close("stopped"))
        self.prepare: Callable[[], None] = lambda: None
        self._is_told = False
        self._surroundings = environment.surroundings()
        self.store, self._beginning = store, beginning or Beginning()
        self._segment: Segment | None = None
        self._metrics: dict[str, float | None] = dict(base.fork.metrics) if base else {}
        self._refusals = logged_values.Refusals()
        self._paused = False
        self._rewinder = Rewinder(database, store, self.actor, started_by)

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Take the segment; a loop that restarts within it may call this again.

        ``script`` is what the script requested, to be compared with at the next resume.

        Raises:
            IllegalTransition: another process trains this segment.
        """
        settings = apply.read_all(point.live, details=True)
        if self.recorder is None:
            segment, self.recorder = self._record(point, settings, max_steps, script)
            self._segment = segment
            if self.signals.received:
                self._interrupt()
            head = self.base.fork.id if self.base else None
            self._committer = Committer(
                self._database, self.store, self.recorder, segment, head, self.actor
            )
        self._tell(point)
        settings = apply.read_all(point.live)
        if self.base is not None:
            self.committer.committed = point.step
            fork = self.base.fork
            changed = {change.name: change.after for change in fork.changes}
            parts = answers.restored_parts(bool(point.live.schedulers), changed)
            if self.base.mode == "weights":
                parts = {**dict.fromkeys(parts, "reset"), "weights": "restored"}
                overridden = [name for name in self.base.overrides if name not in DIRECTIVES]
                parts |= dict.fromkeys(overridden, "replaced")
            parts |= self.base.parts
            requested = fork.settings if self.base.mode == "exact" else self.base.overrides
            expected = apply.expected(point.live, requested)
            self.expecting = Expectation(expected, apply.read_groups(point.live), [], parts, [fork])
            self._watch_resume(self.base)
        if self._rewinder.answers:
            self.recorder.do(self._rewinder.begun)

    def read(self, query: Callable[..., Result], *arguments: Any) -> Result:
        """Return the result of ``query(connection, *arguments)``."""
        with self._database.read() as connection:
            return query(connection, *arguments)

    def own_branch(self) -> str | None:
        """Return the name of the branch, unless it is the one that its run began with."""
        return self._beginning.own_branch

    def _watch_resume(self, base: Base) -> None:
        """Compare the first update with that of the node's own continuation."""
        weights_only = base.mode == "weights"
        with self._database.read() as connection:
            self.reference = restoration.reference(connection, base.fork, weights_only=weights_only)
        self.strict = base.strict
        self.watch([] if weights_only else [base.fork])

    @property
    def rewinds(self) -> bool:
        """Whether training ends here because it continues elsewhere."""
        return self._rewinder.pending is not None

    def seen(self) -> None:
        """Note that an update was made: by now all of the resumed node has been restored."""
        if self.base is not None:
            # It is a full copy of the state.
            self.base.snapshot.tensors.clear()

    def commit_root(self, point: Point, about: str) -> None:
        """Commit the state before the first update of a new run; ``about`` describes the model."""
        if self.base is None or self.base.mode == "weights":
            first = self.base is None and self.committer.committed < 0
            kind = "root" if first else "checkpoint"
            durable_nodes = self.committer.commit(point, kind, self._metrics, message=about)
            self.watch(durable_nodes, alike=self.base is not None)
            if self.base is None:
                settings, groups = apply.read_all(point.live), apply.read_groups(point.live)
                self.expecting = Expectation(settings, groups, [], None, durable_nodes)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step; non-numbers are named once, here and in the record."""
        numbers, refused = logged_values.numbers(values)
        self._metrics.update(numbers)
        if self.recorder is not None:
            self.recorder.log(step, numbers)
            self._tell_refused(self._refusals.fresh(refused), step)

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return whether anything is to be done at a control point: a few tests of flags."""
        recorder = self.recorder
        assert recorder is not None
        if recorder.waiting or save or self.stop_asked:
            return True
        return epoch_over and "epoch" in recorder.awaits

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Carry out requests, and commit a node where one is due; wait while paused.

        ``save``: the loop wants a checkpoint. ``final``: this is the state that training ends in.
        ``epoch_over``: the update was the last of its pass over the data.
        """
        assert self.recorder is not None
        reached = [*(["epoch"] if epoch_over else []), *(["checkpoint"] if save else [])]
        self._answer(point, reached, save=save, final=final)
        while self._paused and not (self.stop_asked or final):
            if self.recorder.wait(1.0):
                self._answer(point, (), save=False, final=False)

    def _answer(self, point: Point, reached: Sequence[str], *, save: bool, final: bool) -> None:
        """Answer what waits at this moment.

        While no update has shown the effect of an earlier change (training is held, or the
        optimizer skips updates), expectations of the next one add up.
        """
        assert self.recorder is not None
        pending = self.recorder.take(reached)
        if self.signals.received:
            self.signals.answer()
            # Training that has reached its end is not cut short by it.
            self.stop_asked = self.stop_asked or not final
        saves = self.committer.saves
        if save:
            saves.ask(point.step)
        scene = self._scene(point, final)
        replies = [self._execute(request, scene) for request in pending]
        answers.supersede(replies)
        changes = (*answers.changes(replies), *execution.remarks(replies))
        ends = final or self.stop_asked
        kind = "final" if ends else "intervention" if changes else "checkpoint"
        wants_node = any(reply.makes_node for reply in replies)
        durable_nodes: list[Node] = []
        is_new = self.committer.committed != point.step
        if changes or wants_node or ((saves.owed is not None or ends) and is_new):
            message = "; ".join(
                text for text in (answers.message(replies), self.signals.words) if text
            )
            durable_nodes = self.committer.commit(
                point, kind, self._metrics, changes, replies, message
            )
            self.watch(durable_nodes, alike=not changes)
        else:
            self.committer.answer(replies, point.step)
            if not is_new:
                saves.make(saves.take())
        if replies:
            self._tell(point)
        settled = [a for a in replies if a.state == "applied" and a.settings]
        if settled:
            expected = {name: v for answer in settled for name, v in answer.settings.items()}
            later = Expectation(
                expected, apply.read_groups(point.live), settled, None, durable_nodes
            )
            before = self.expecting.answers if self.expecting else []
            self.expecting = answers.merged(self.expecting, later)
            self._tell_superseded(
                [reply for reply in before if reply.state == "superseded"], point.step
            )

    def _tell(self, point: Point) -> None:
        """Write the current settings with the next heartbeat."""
        assert self.recorder is not None
        settings = self.recorder.settings = apply.read_all(point.live, details=True)
        self.recorder.max_steps = settings.get("max_steps", point.live.fixed.get("max_steps"))

    def _tell_superseded(self, before: Sequence[Answer], step: int) -> None:
        """Record changes that others have reverted before any update."""
        assert self.recorder is not None

        def job() -> None:
            with self._database.transaction() as connection:
                for answer in before:
                    with suppress(IllegalTransition):
                        requests.move(
                            connection, answer.request.id, "superseded", actor=self.actor, step=step
                        )

        if before:
            self.recorder.do(job)

    def _tell_refused(self, refused: Mapping[str, str], step: int) -> None:
        if not refused or self.recorder is None or self._segment is None:
            return
        run_id, segment_id = self._segment.run_id, self._segment.id
        words = "; ".join(f"{name}: {why}" for name, why in refused.items())
        logger.warning("branchtrack does not record values that are not numbers: %s", words)

        def job() -> None:
            with self._database.transaction() as connection:
                audit.append(
                    connection,
                    run_id,
                    kind="metric",
                    ref=segment_id,
                    state="not recorded",
                    actor=self.actor,
                    step=step,
                    payload={"names": dict(refused)},
                )

        self.recorder.do(job)

    def close(self, status: str, error: str | None = None) -> None:
        """Write what is left and end the segment as ``finished``, ``stopped`` or ``failed``.

        Raises:
            StorageError: it could not be recorded whole, with ``BRANCHTRACK_REQUIRE=1``.
        """
        if self.witness is not None:
            self.witness.detach()
        self.signals.answer()
        status, error = self.signals.ending(status, error)
        recorder, segment, lost = self.recorder, self._segment, []
        try:
            if recorder is not None and segment is not None:
                segment_id = segment.id
                self.committer.saves.drop("Training ended before it could be made.")
                lost = recorder.close(lambda: self._end(segment_id, status, error))
        except (KeyboardInterrupt, SystemExit):
            # A second signal: nothing is waited for any more.
            why = f"{self.signals.words}, and another broke off what was being written"
            if recorder is not None:
                recorder.close(lambda: self._end(segment_id, "stopped", why))
            raise
        finally:
            self.signals.off()
        self._rewinder.ended(status, error)
        if self.rewinds and self.signals.received:
            self._rewinder.give_up(self.signals.words)
        elif self.rewinds:
            self._rewinder.become()
        self._database.close()
        if lost and status != "failed" and configuration.is_required():
            raise StorageError(f"Not everything could be recorded: {'; '.join(lost)}")

    def _note(self) -> int:
        """Note a signal without any lock; return the step."""
        if self.recorder is None:
            return self.base.fork.step if self.base else 0
        self.recorder.note()
        return self.recorder.step

    def _interrupt(self) -> None:
        """After a signal was noted, make sure that the loop comes, and record it at once."""
        recorder = self.recorder
        if recorder is not None and not self._is_told:
            self._is_told = True
            recorder.interrupt()
            recorder.tell("signal", "received", self.actor, recorder.step, self.signals.words)

    def _record(
        self,
        point: Point,
        settings: dict[str, Any],
        max_steps: int | None,
        script: Mapping[str, Any] | None,
    ) -> tuple[Segment, Recorder]:
        """Return the segment that this process trains, taken or planned, and its recorder."""
        live = point.live
        at_resume = [setting for name, setting in AT_RESUME.items() if name in live.fixed]
        take = partial(
            segments.take,
            actor=self.actor,
            settings=settings,
            max_steps=max_steps,
            declared=[setting.as_dict() for setting in [*apply.declare(live), *at_resume]],
            script=None if script is None else dict(script),
            offers=self._capabilities(live),
            environment=self._surroundings,
        )
        if isinstance(self._beginning, NewRun):
            new = registration.new_run(
                self._database, self._beginning, self.actor, self.prepare, take
            )
            return new.segment, new.recorder(point.step)
        with self._database.transaction() as connection:
            segment = take(connection, self._beginning.segment(connection, self.actor).id)
        self._has_begun()
        return segment, Recorder(self._database, segment.id, point.step)

    def _has_begun(self) -> None:
        """Note that everything planned is in the record by now."""
        beginning = self._beginning
        if self.base is not None and beginning.fork is not None:
            self.base = replace(self.base, fork=beginning.fork)
        if beginning.launch is not None:
            self._rewinder = Rewinder(
                self._database, self.store, self.actor, (beginning.launch.id, None)
            )
        beginning.tell()

    def _capabilities(self, live: Live) -> dict[str, Any]:
        described = {
            name: author_actions.describe(name, action) for name, action in self.actions.items()
        }
        return Capabilities(described, modules.paths(live.model), self.evaluates).as_dict()

    def _execute(self, request: Request, scene: Scene) -> Answer:
        if self.rewinds:
            return Answer(request, "expired", "The branch was just left for another node.")
        return execution.execute(request, scene)

    def _scene(self, point: Point, final: bool) -> Scene:
        def evaluate() -> dict[str, Any]:
            metrics = point.evaluate()
            recorded = logged_values.numbers(metrics)[0]
            self.log(point.step, metrics)
            return recorded

        hold, rewind = partial(self._hold, point.step, final), self._rewinder.order
        return Scene(point.live, point.step, self.actions, evaluate, hold, self._stop, rewind)

    def _stop(self) -> None:
        self.stop_asked = True

    def _hold(self, step: int, final: bool, request: Request, paused: bool) -> None:
        assert self.recorder is not None and self._segment is not None
        segment_id = self._segment.id
        if paused and (final or self.stop_asked):
            raise InvalidInput("kind", "pause", "nothing", what="Training ends at this step.")
        self._paused = paused

        def job() -> None:
            with self._database.transaction() as connection:
                segments.hold(connection, segment_id, paused=paused, step=step, actor=request.actor)

        self.recorder.do(job)

    def ignored(self) -> None:
        """Answer that the loop continues although it was asked to stop."""
        assert self.recorder is not None and self._segment is not None
        segment_id = self._segment.id
        why = "The loop continues: it does not end where `run.step()` is true. It is not recorded."
        logger.warning("branchtrack: %s", why)

        def job() -> None:
            with self._database.transaction() as connection:
                self._end_stops(connection, segment_id, "failed", why)

        self.recorder.do(job)

    def _end_stops(
        self, connection: Connection, segment_id: str, state: str, error: str | None = None
    ) -> None:
        for request in requests.unanswered(connection, segment_id):
            if awaited_by(request.kind) == "end" and request.state == "applied":
                requests.move(connection, request.id, state, actor=self.actor, error=error)

    def _end(self, segment_id: str, status: str, error: str | None) -> None:
        with self._database.transaction() as connection:
            if status != "failed":
                self._end_stops(connection, segment_id, "done")
                status, error = self.committer.ending(status, error)
            control.expire_unanswered(
                connection,
                segment_id,
                self.actor,
                "The training process ended first.",
                spare=self._rewinder.request_id,
            )
            later = environment.with_later_modules(self._surroundings)
            if later != self._surroundings:
                segments.set_environment(connection, segment_id, later)
            segments.end(connection, segment_id, status, actor=self.actor, error=error)


def origin(connection: Connection, fork: Node) -> tuple[Node, dict[str, Any]]:
    """Return the node trained last on the way to a fork node, and all that was declared since."""
    declared: dict[str, Any] = {}
    node = fork
    while node.kind == "fork" and node.parent_id is not None:
        declared = {**{change.name: change.after for change in node.changes}, **declared}
        node = nodes.get(connection, node.parent_id)
    return node, declared

"""A training process's part in a run: its segment, its control points, its nodes.

Serves any PyTorch loop; a loop gives it live objects and calls it between updates. The training
thread only tests flags, applies and copies; all I/O is the recorder's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from sqlalchemy import Connection

from branchtrack import config as configuration
from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.exactness import CERTIFY_VARIABLE
from branchtrack.core.names import as_name
from branchtrack.core.offers import Offers
from branchtrack.core.records import Launch, Node, Request, Segment
from branchtrack.core.settings import AT_RESUME, DIRECTIVES, RECIPE
from branchtrack.db import launches, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import BranchtrackError, IllegalTransition, InvalidInput
from branchtrack.training import (
    acting,
    answers,
    apply,
    capture,
    carrying,
    commits,
    effects,
    environment,
    modules,
    rewinding,
)
from branchtrack.training.answers import Answer, Expectation
from branchtrack.training.apply import Live
from branchtrack.training.committer import Committer, Point
from branchtrack.training.effects import Probe, Verdict
from branchtrack.training.recorder import Recorder

logger = logging.getLogger("branchtrack")

LAUNCH_VARIABLE = "BRANCHTRACK_LAUNCH"
#: The step at which a launched process is to stop, as if it had been asked to.
UNTIL_VARIABLE = "BRANCHTRACK_UNTIL"


@dataclass(frozen=True)
class Base:
    """What a launched process resumes: the fork node, and the state it stands for.

    ``origin`` is the node that was trained last on the way to it, ``script`` what its script asked
    for (None where nobody recorded it), and ``overrides`` the changes declared since.
    ``mode`` is ``exact`` or ``weights``.
    """

    fork: Node
    snapshot: capture.Snapshot
    origin: Node
    mode: str = "exact"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    script: Mapping[str, Any] | None = None


class Session:
    """One segment, from opening the database to the last record.

    A loop calls `begin` and `commit_root`, then for each update `before_update`, `after_update`,
    `log`, `finish_update` and `control_point`, and `close` whatever happens. ``uncovered`` is what
    the loop knows of itself that no test covers; ``actions`` are the functions that its author
    registered, by name. ``rewinds`` once it is to end for this process to begin anew elsewhere.
    """

    #: Whether it only tries again what was trained before, and is to leave nothing behind.
    rehearses = False

    def __init__(self, database: Database, store: Store, name: str, base: Base | None) -> None:
        self.base = base
        self.stop_asked = False
        self.until: int | None = None
        self.uncovered: list[str] = []
        self.actions: dict[str, Callable[..., Any]] = {}
        self.evaluates = True
        self.expecting: Expectation | None = None
        self.recorder: Recorder | None = None
        self.actor = f"run ({control.local_actor()})"
        self._database, self._store, self._name = database, store, name
        self._segment: Segment | None = None
        self._committer: Committer | None = None
        self._metrics: dict[str, float | None] = dict(base.fork.metrics) if base else {}
        self._used: tuple[int, list[dict[str, Any]]] | None = None
        self._probe: Probe | None = None
        self._paused = False
        self._rewind: tuple[Request, Launch] | None = None
        self._own_launch: str | None = None
        self._answers_rewind: str | None = None

    @classmethod
    def open(cls, name: str | None) -> Session:
        """The session of this process: of the launch it was started for, or of a new run.

        Raises:
            HomeError, SchemaError, CheckpointError, NotFound: before any training.
        """
        settings = configuration.load()
        database = open_database(settings, create=True)
        store = Store(settings.store)
        run_name = as_name(name or environment.script_name(), "run")
        # Taken out of the environment: the process's children are not this launch.
        launch_id = os.environ.pop(LAUNCH_VARIABLE, None)
        until = os.environ.pop(UNTIL_VARIABLE, None)
        rewind = os.environ.pop(rewinding.REWIND_VARIABLE, None)
        trial = os.environ.pop(CERTIFY_VARIABLE, None)
        if trial is not None:
            # It is a kind of session itself, and knows this module.
            from branchtrack.training.rehearsal import rehearse

            return rehearse(database, store, run_name, trial)
        if launch_id is None:
            return cls(database, store, run_name, None)
        try:
            with database.read() as connection:
                launch = launches.get(connection, launch_id)
                fork = nodes.get(connection, launch.fork_node_id)
                stored = nodes.checkpoint(connection, fork.state_digest)
                segment = segments.get(connection, launch.segment_id)
                trained, overrides = origin(connection, fork)
                script = segments.get(connection, trained.segment_id).script
            snapshot = commits.load(store, stored, fork)
            base = Base(fork, snapshot, trained, launch.mode, overrides, script)
            session = cls(database, store, run_name, base)
            session.until = int(until) if until else None
        except BaseException as error:
            if rewind is not None:
                _fail_rewind(database, launch_id, rewind, error)
            database.close()
            raise
        session._segment = segment
        if rewind is not None:
            session._own_launch, session._answers_rewind = launch_id, rewind
        return session

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Take the segment; a loop that begins anew within it may call this again.

        ``script`` is what the script asked for, to be compared with at the next resume.

        Raises:
            IllegalTransition: another process trains this segment.
        """
        settings = apply.read_all(point.live, details=True)
        if self.recorder is None:
            segment = self._segment = self._take(point.live, settings, max_steps, script)
            self.recorder = Recorder(self._database, segment.id, point.step)
            head = self.base.fork.id if self.base else None
            self._committer = Committer(
                self._database, self._store, self.recorder, segment, head, self.actor
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
                given = [name for name in self.base.overrides if name not in DIRECTIVES]
                parts |= dict.fromkeys(given, "replaced")
            asked = fork.settings if self.base.mode == "exact" else self.base.overrides
            wanted = {**settings, **point.live.fixed}
            no_value = (*DIRECTIVES, RECIPE)
            asked = {name: value for name, value in asked.items() if name not in no_value}
            wanted = {name: asked.get(name, value) for name, value in wanted.items()}
            wanted = apply.resolved(point.live, wanted)
            self.expecting = Expectation(wanted, apply.read_groups(point.live), [], parts, [fork])
        if self._answers_rewind is not None:
            rewind, self._answers_rewind = self._answers_rewind, None
            self.recorder.do(lambda: rewinding.begun(self._database, rewind, self.actor))

    @property
    def rewinds(self) -> bool:
        """Whether training ends here because it goes on elsewhere."""
        return self._rewind is not None

    @property
    def committer(self) -> Committer:
        """What makes this segment's nodes, once it has begun."""
        assert self._committer is not None
        return self._committer

    def commit_root(self, point: Point, about: str) -> None:
        """Commit the state before the first update of a new run; ``about`` describes the model."""
        if self.base is None or self.base.mode == "weights":
            first = self.base is None and self.committer.committed < 0
            kind = "root" if first else "checkpoint"
            made = self.committer.commit(point, kind, self._metrics, message=about)
            if self.base is None:
                settings, groups = apply.read_all(point.live), apply.read_groups(point.live)
                self.expecting = Expectation(settings, groups, [], None, made)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step; what is not a number is passed over."""
        found = {name: _number(value) for name, value in values.items()}
        numbers = {name: value for name, value in found.items() if value is not None}
        self._metrics.update(numbers)
        if self.recorder is not None:
            self.recorder.log(step, numbers)

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Whether there is anything to do at a control point: a few tests of flags."""
        recorder = self.recorder
        assert recorder is not None
        if recorder.waiting or save or self.stop_asked:
            return True
        return epoch_over and "epoch" in recorder.awaits

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Carry out what has been asked, and commit a node where one is due; wait while paused.

        ``save``: the loop wants a checkpoint. ``final``: this is the state that training ends in.
        ``epoch_over``: the update was the last of its pass over the data.
        """
        assert self.recorder is not None
        reached = [*(["epoch"] if epoch_over else []), *(["checkpoint"] if save else [])]
        self._answer(point, reached, save=save, final=final)
        while self._paused and not (self.stop_asked or final):
            if self.recorder.wait(1.0):
                self._answer(point, (), save=False, final=False, held=True)

    def _answer(
        self, point: Point, reached: Sequence[str], *, save: bool, final: bool, held: bool = False
    ) -> None:
        """Answer what waits at this moment. ``held``: no update was made since the last time."""
        assert self.recorder is not None
        # Where no update has shown yet what became of the last change, the next has to wait;
        # while training is held none will, and what is expected of it adds up.
        free = self.expecting is None or (held and self.expecting.restored is None)
        asked = self.recorder.take(reached) if free else []
        found = [self._carry_out(request, point, final=final) for request in asked]
        answers.supersede(found)
        changes = (*answers.changes(found), *carrying.remarks(found))
        ends = final or self.stop_asked
        kind = "final" if ends else "intervention" if changes else "checkpoint"
        wants_node = any(one.makes_node for one in found)
        made: list[Node] = []
        if changes or wants_node or ((save or ends) and self.committer.committed != point.step):
            made = self.committer.commit(
                point, kind, self._metrics, changes, found, answers.message(found)
            )
        else:
            self.committer.answer(found, point.step)
        if found:
            self._tell(point)
        settled = [a for a in found if a.state == "applied" and a.wanted]
        if settled:
            wanted = {name: v for answer in settled for name, v in answer.wanted.items()}
            later = Expectation(wanted, apply.read_groups(point.live), settled, None, made)
            before = [one for one in (self.expecting.answers if self.expecting else [])]
            self.expecting = answers.merged(self.expecting, later)
            self._tell_superseded([one for one in before if one.state == "superseded"], point.step)

    def _tell(self, point: Point) -> None:
        """Have the next heartbeat tell what is in force."""
        assert self.recorder is not None
        self.recorder.settings = apply.read_all(point.live, details=True)
        ends = apply.read_all(point.live).get("max_steps", point.live.fixed.get("max_steps"))
        self.recorder.max_steps = ends

    def _tell_superseded(self, before: Sequence[Answer], step: int) -> None:
        """Tell of changes that were made and have been undone by others before any update."""
        assert self.recorder is not None

        def job() -> None:
            with self._database.transaction() as connection:
                for one in before:
                    with suppress(IllegalTransition):
                        requests.move(
                            connection, one.request.id, "superseded", actor=self.actor, step=step
                        )

        if before:
            self.recorder.do(job)

    @property
    def is_reading(self) -> bool:
        """Whether `before_update` has read something that `after_update` is to compare."""
        return self._used is not None

    def before_update(self, live: Live, step: int) -> None:
        """Read back what update ``step`` is about to use, between backward and the update."""
        if self.expecting is not None and self.recorder is not None:
            self._used = step, [{**live.fixed, **apply.used(live)}]
            self.probe.before(live)

    def after_update(self, live: Live) -> None:
        """Read back again right after the update: an optimizer may set its settings within it."""
        if self._used is not None:
            step, found = self._used
            self.probe.after(live)
            self._used = step, [found[0], {**found[0], **apply.in_force(live)}]

    def finish_update(self, live: Live) -> None:
        """Say what the update has made of what was expected of it, where one has been read."""
        if self._used is not None:
            (step, found), self._used = self._used, None
            self.settle(step, found, live)
            self.committer.prepare(live)

    @property
    def probe(self) -> Probe:
        """What compares the coming update with one that would have been made without a change."""
        if self._probe is None or self._probe.expected is not self.expecting:
            assert self.expecting is not None
            self._probe = Probe(self.expecting)
        return self._probe

    def settle(self, step: int, readings: Sequence[Mapping[str, Any]], live: Live) -> None:
        """Record what update ``step`` made of the settings that were expected of it.

        ``readings``: what was found before it, after it and as often as the loop looked.
        """
        expected, self.expecting, self._probe = self.expecting, None, None
        if expected is None or self.recorder is None:
            return
        if self.base is not None:
            # By now every part of it has been restored; it is a whole copy of the state.
            self.base.snapshot.tensors.clear()
        verdicts = effects.verdicts(expected, readings, step, live)
        verified = effects.obeyed(expected.wanted, expected, readings)
        effective = {"step": step, "verified": verified, **readings[-1]}
        del effective["groups"]
        self.recorder.do(lambda: self._record_effect(expected, verdicts, effective))

    def close(self, status: str, error: str | None = None) -> None:
        """Write what is left and end the segment as ``finished``, ``stopped`` or ``failed``."""
        recorder, segment = self.recorder, self._segment
        if recorder is not None and segment is not None:
            recorder.close(lambda: self._end(segment.id, status, error))
        if self._own_launch is not None:
            self._end_own_launch(self._own_launch, status, error)
        rewind, self._rewind = self._rewind, None
        if rewind is not None:
            self._become(*rewind)
        self._database.close()

    def _end_own_launch(self, launch_id: str, status: str, error: str | None) -> None:
        try:
            if self._answers_rewind is not None:
                why = error or "The process ended before it went on from the node."
                rewinding.give_up(self._database, self._answers_rewind, self.actor, why)
            rewinding.end(self._database, launch_id, status, self.actor, error)
        except BranchtrackError as trouble:
            logger.error("branchtrack could not record the end of the launch: %s", trouble)

    def _become(self, request: Request, launch: Launch) -> None:
        """Begin anew from the node of a rewind; returns only where that cannot be."""
        try:
            with self._database.read() as connection:
                entry_point = runs.get_run(connection, launch.run_id).entry_point
            config = configuration.load()
            self._database.close()
            rewinding.become(entry_point or {}, config, launch, request)
        except Exception as error:
            why = rewinding.report(error)
            logger.error("branchtrack could not rewind: %s", why)
            rewinding.give_up(self._database, request.id, self.actor, why)
            rewinding.end(self._database, launch.id, "failed", self.actor, why)

    def _take(
        self,
        live: Live,
        settings: dict[str, Any],
        max_steps: int | None,
        script: Mapping[str, Any] | None,
    ) -> Segment:
        at_resume = [setting for name, setting in AT_RESUME.items() if name in live.fixed]
        declared = [setting.as_dict() for setting in [*apply.declare(live), *at_resume]]
        with self._database.transaction() as connection:
            segment = self._segment
            if segment is None:
                run = runs.create_run(
                    connection, self._name, actor=self.actor,
                    entry_point=environment.entry_point(),
                )  # fmt: skip
                branch = runs.create_branch(connection, run.id, run.default_branch)
                segment = segments.create(connection, run.id, branch.id, None, 0)
            return segments.take(
                connection, segment.id, actor=self.actor, declared=declared,
                settings=settings, max_steps=max_steps,
                script=None if script is None else dict(script), offers=self._offers(live),
            )  # fmt: skip

    def _offers(self, live: Live) -> dict[str, Any]:
        described = {name: acting.describe(name, one) for name, one in self.actions.items()}
        return Offers(described, modules.paths(live.model), self.evaluates).as_dict()

    def _carry_out(self, request: Request, point: Point, *, final: bool) -> Answer:
        if self.rewinds:
            return Answer(request, "expired", "The branch was left for another node just before.")
        found = carrying.carry_out(request, point.live, point.step, self.actions)
        if found is not None:
            return found
        answer = Answer(request, "done")
        try:
            if request.kind == "evaluate":
                answer.result = {"metrics": point.evaluate()}
                self.log(point.step, answer.result["metrics"])
            elif request.kind == "stop":
                self.stop_asked = True
            elif request.kind in ("pause", "unpause"):
                self._hold(request, point.step, final=final)
            elif request.kind == "rewind":
                launch, answer.result = rewinding.order(self._database, self._store, request)
                self._rewind, self.stop_asked = (request, launch), True
                answer.state = "applied"
        except Exception as error:
            # Whatever a request does wrong is its answer, and never the end of training.
            carrying.fail(answer, error)
        return answer

    def _hold(self, request: Request, step: int, *, final: bool) -> None:
        assert self.recorder is not None and self._segment is not None
        paused, segment_id = request.kind == "pause", self._segment.id
        if paused and (final or self.stop_asked):
            raise InvalidInput("kind", "pause", "nothing", what="Training ends at this step.")
        self._paused = paused

        def job() -> None:
            with self._database.transaction() as connection:
                segments.hold(connection, segment_id, paused=paused, step=step, actor=request.actor)

        self.recorder.do(job)

    def _record_effect(
        self, expected: Expectation, verdicts: list[Verdict], effective: dict[str, Any]
    ) -> None:
        with self._database.transaction() as connection:
            for node in expected.nodes:
                nodes.set_effective(connection, node.id, effective, expected.restored)
            for one in verdicts:
                if one.answer.state == "applied":
                    with suppress(IllegalTransition):
                        requests.move(
                            connection, one.answer.request.id, one.state, actor=self.actor,
                            effective=one.effective, error=one.error,
                        )  # fmt: skip

    def _end(self, segment_id: str, status: str, error: str | None) -> None:
        with self._database.transaction() as connection:
            control.expire_unanswered(
                connection, segment_id, self.actor, "The training process ended first.",
                spare=self._rewind[0].id if self._rewind else None,
            )  # fmt: skip
            segments.end(connection, segment_id, status, actor=self.actor, error=error)


def origin(connection: Connection, fork: Node) -> tuple[Node, dict[str, Any]]:
    """The node that was trained last on the way to a fork node, and all that was declared since."""
    declared: dict[str, Any] = {}
    node = fork
    while node.kind == "fork" and node.parent_id is not None:
        declared = {**{change.name: change.after for change in node.changes}, **declared}
        node = nodes.get(connection, node.parent_id)
    return node, declared


def _fail_rewind(database: Database, launch_id: str, request_id: str, error: BaseException) -> None:
    """Answer a rewind whose process could not even read where it was to go on."""
    why, actor = rewinding.report(error), f"run ({control.local_actor()})"
    with suppress(BranchtrackError):
        rewinding.give_up(database, request_id, actor, why)
        rewinding.end(database, launch_id, "failed", actor, why)


def _number(value: Any) -> float | None:
    """``value`` as a float if it is one number, of whatever library."""
    if isinstance(value, bool):
        return None
    if isinstance(value, torch.Tensor):
        return float(value.item()) if value.numel() == 1 and not value.is_complex() else None
    try:
        return float(value) if isinstance(value, Real) else None
    except OverflowError:
        return None

"""A training process's part in a run: its segment, its control points, its nodes.

Serves any PyTorch loop; a loop gives it live objects and calls it between updates. The training
thread only tests flags, applies and copies; all I/O is the recorder's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
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
from branchtrack.core.records import Node, Request, Segment
from branchtrack.core.settings import AT_RESUME, DIRECTIVES, RECIPE
from branchtrack.db import launches, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import IllegalTransition
from branchtrack.training import answers, apply, capture, commits, environment
from branchtrack.training.answers import Answer, Expectation
from branchtrack.training.apply import Live
from branchtrack.training.committer import Committer, Point
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
    `log` and `control_point`, and `close` whatever happens. ``uncovered`` is what the loop knows
    of itself that no test covers.
    """

    #: Whether it only tries again what was trained before, and is to leave nothing behind.
    rehearses = False

    def __init__(self, database: Database, store: Store, name: str, base: Base | None) -> None:
        self.base = base
        self.stop_asked = False
        self.until: int | None = None
        self.uncovered: list[str] = []
        self.expecting: Expectation | None = None
        self.recorder: Recorder | None = None
        self.actor = f"run ({control.local_actor()})"
        self._database, self._store, self._name = database, store, name
        self._segment: Segment | None = None
        self._committer: Committer | None = None
        self._metrics: dict[str, float | None] = dict(base.fork.metrics) if base else {}
        self._used: tuple[int, dict[str, Any]] | None = None

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
        except BaseException:
            database.close()
            raise
        session._segment = segment
        return session

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Take the segment; a loop that begins anew within it may call this again.

        ``script`` is what the script asked for, to be compared with at the next resume.

        Raises:
            IllegalTransition: another process trains this segment.
        """
        settings = apply.read_all(point.live)
        if self.recorder is None:
            segment = self._segment = self._take(point.live, settings, max_steps, script)
            self.recorder = Recorder(self._database, segment.id, point.step)
            head = self.base.fork.id if self.base else None
            self._committer = Committer(
                self._database, self._store, self.recorder, segment, head, self.actor
            )
        self.recorder.settings = settings
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

    def control_point(self, point: Point, *, save: bool, final: bool) -> None:
        """Carry out what has been asked, and commit a node where one is due.

        ``save``: the loop wants a checkpoint. ``final``: this is the state that training ends in.
        """
        assert self.recorder is not None
        # Where no update has shown yet what became of the last change, the next has to wait.
        asked = self.recorder.take() if self.expecting is None else []
        found = [self._carry_out(request, point) for request in asked]
        answers.supersede(found)
        changes = answers.changes(found)
        ends = final or self.stop_asked
        kind = "final" if ends else "intervention" if changes else "checkpoint"
        wants_node = any(a.state != "failed" and a.request.kind != "evaluate" for a in found)
        made: list[Node] = []
        if changes or wants_node or ((save or ends) and self.committer.committed != point.step):
            made = self.committer.commit(
                point, kind, self._metrics, changes, found, answers.message(found)
            )
        else:
            self.committer.answer(found, point.step)
        if any(answer.applied for answer in found):
            self.recorder.settings = apply.read_all(point.live)
        settled = [a for a in found if a.state == "applied" and a.wanted]
        if settled:
            wanted = {name: v for answer in settled for name, v in answer.wanted.items()}
            groups = apply.read_groups(point.live)
            self.expecting = Expectation(wanted, groups, settled, None, made)

    @property
    def is_reading(self) -> bool:
        """Whether `before_update` has read something that `after_update` is to compare."""
        return self._used is not None

    def before_update(self, live: Live, step: int) -> None:
        """Read back what update ``step`` is about to use, between backward and the update."""
        if self.expecting is not None and self.recorder is not None:
            self._used = step, {**live.fixed, **apply.used(live)}

    def after_update(self, live: Live) -> None:
        """Read back again right after the update: an optimizer may set its settings within it."""
        if self._used is not None:
            (step, before), self._used = self._used, None
            self.settle(step, [before, {**before, **apply.in_force(live)}])
            self.committer.prepare(live)

    def settle(self, step: int, readings: Sequence[Mapping[str, Any]]) -> None:
        """Record what update ``step`` made of the settings that were expected of it.

        ``readings``: what was found before it, after it and as often as the loop looked.
        """
        expected, self.expecting = self.expecting, None
        if expected is None or self.recorder is None:
            return
        if self.base is not None:
            # By now every part of it has been restored; it is a whole copy of the state.
            self.base.snapshot.tensors.clear()

        def obeyed(wanted: dict[str, Any]) -> bool:
            return all(apply.agrees(wanted, expected.groups, found) for found in readings)

        verdicts = [(answer, obeyed(answer.wanted)) for answer in expected.answers]
        effective = {"step": step, "verified": obeyed(expected.wanted), **readings[-1]}
        del effective["groups"]
        self.recorder.do(lambda: self._record_effect(expected, verdicts, effective))

    def close(self, status: str, error: str | None = None) -> None:
        """Write what is left and end the segment as ``finished``, ``stopped`` or ``failed``."""
        recorder, segment = self.recorder, self._segment
        if recorder is not None and segment is not None:
            recorder.close(lambda: self._end(segment.id, status, error))
        self._database.close()

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
                script=None if script is None else dict(script),
            )  # fmt: skip

    def _carry_out(self, request: Request, point: Point) -> Answer:
        answer = Answer(request)
        try:
            if request.kind == "set":
                answer.wanted = apply.resolved(point.live, request.requested["values"])
                current = apply.read_all(point.live)
                answer.before = {name: current[name] for name in answer.wanted}
                answer.applied = apply.write_all(point.live, answer.wanted)
                return answer
            answer.state = "done"
            if request.kind == "evaluate":
                answer.result = {"metrics": point.evaluate()}
                self.log(point.step, answer.result["metrics"])
            elif request.kind == "stop":
                self.stop_asked = True
        except Exception as error:
            # Whatever a request does wrong is its answer, and never the end of training.
            logger.warning("branchtrack could not carry out %s", request.id, exc_info=True)
            answer.state, answer.error = "failed", f"{type(error).__name__}: {error}"
        return answer

    def _record_effect(
        self,
        expected: Expectation,
        verdicts: list[tuple[Answer, bool]],
        effective: dict[str, Any],
    ) -> None:
        with self._database.transaction() as connection:
            for node in expected.nodes:
                nodes.set_effective(connection, node.id, effective, expected.restored)
            for answer, ok in verdicts:
                if answer.state == "applied":
                    state = "verified" if ok else "ineffective"
                    with suppress(IllegalTransition):
                        requests.move(
                            connection, answer.request.id, state, actor=self.actor,
                            effective=effective,
                        )  # fmt: skip

    def _end(self, segment_id: str, status: str, error: str | None) -> None:
        with self._database.transaction() as connection:
            control.expire_unanswered(
                connection, segment_id, self.actor, "The training process ended first."
            )
            segments.end(connection, segment_id, status, actor=self.actor, error=error)


def origin(connection: Connection, fork: Node) -> tuple[Node, dict[str, Any]]:
    """The node that was trained last on the way to a fork node, and all that was declared since."""
    declared: dict[str, Any] = {}
    node = fork
    while node.kind == "fork" and node.parent_id is not None:
        declared = {**{change.name: change.after for change in node.changes}, **declared}
        node = nodes.get(connection, node.parent_id)
    return node, declared


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

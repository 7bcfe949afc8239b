"""A training process's part in a run: its segment, its control points, its nodes.

Serves any PyTorch loop; a loop gives it live objects and calls it between updates. The training
thread only tests flags, applies and copies; all I/O is the recorder's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch

from branchtrack import config as configuration
from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.names import as_name
from branchtrack.core.records import Branch, Change, NewNode, Node, Request, Segment
from branchtrack.db import launches, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import IllegalTransition, SchemaError, StorageError
from branchtrack.training import answers, apply, capture, commits, environment
from branchtrack.training.answers import Answer, Expectation
from branchtrack.training.apply import Live
from branchtrack.training.recorder import Recorder

logger = logging.getLogger("branchtrack")

LAUNCH_VARIABLE = "BRANCHTRACK_LAUNCH"


@dataclass(frozen=True)
class Base:
    """What a launched process resumes: the fork node, and the state it stands for."""

    fork: Node
    snapshot: capture.Snapshot


@dataclass(frozen=True)
class Point:
    """A control point: where the loop is, and what it can be asked for there.

    ``extra`` gives the loop's own state; ``evaluate`` its metrics, without disturbing training.
    """

    live: Live
    step: int
    epoch: float
    extra: Callable[[], dict[str, Any]]
    evaluate: Callable[[], dict[str, float]]


class Session:
    """One segment, from opening the database to the last record.

    A loop calls `begin` and `commit_root`, then for each update `before_update`, `after_update`,
    `log` and `control_point`, and `close` whatever happens.
    """

    def __init__(self, database: Database, store: Store, name: str, base: Base | None) -> None:
        self.base = base
        self.stop_asked = False
        self.expecting: Expectation | None = None
        self.recorder: Recorder | None = None
        self.actor = f"run ({control.local_actor()})"
        self._database, self._store, self._name = database, store, name
        self._branch: Branch | None = None
        self._segment: Segment | None = None
        self._head: str | None = base.fork.id if base else None
        self._metrics: dict[str, float | None] = dict(base.fork.metrics) if base else {}
        self._environment = environment.describe()
        self._buffers = capture.Buffers()
        self._committed = -1
        self._used: tuple[Expectation, int, dict[str, Any]] | None = None
        self._free = threading.Event()
        self._free.set()

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
        if launch_id is None:
            return cls(database, store, run_name, None)
        try:
            with database.read() as connection:
                launch = launches.get(connection, launch_id)
                fork = nodes.get(connection, launch.fork_node_id)
                stored = nodes.checkpoint(connection, fork.state_digest)
                branch = runs.get_branch(connection, launch.branch_id)
                segment = segments.get(connection, launch.segment_id)
            session = cls(database, store, run_name, Base(fork, commits.load(store, stored, fork)))
        except BaseException:
            database.close()
            raise
        session._branch, session._segment = branch, segment
        return session

    def begin(self, point: Point, max_steps: int | None) -> None:
        """Take the segment; a loop that begins anew within it may call this again.

        Raises:
            IllegalTransition: another process trains this segment.
        """
        settings = apply.read_all(point.live)
        if self.recorder is None:
            self._take(point.live, settings, max_steps)
            assert self._segment is not None
            self.recorder = Recorder(self._database, self._segment.id, point.step)
        self.recorder.settings = settings
        if self.base is not None:
            self._committed = point.step
            fork, state = self.base.fork, self.base.snapshot.state
            changed = {change.name: change.after for change in fork.changes}
            parts = answers.restored_parts(state["scheduler"] is not None, changed)
            wanted = {name: fork.settings.get(name, value) for name, value in settings.items()}
            self.expecting = Expectation(wanted, apply.read_rates(point.live), [], parts, [fork])

    def commit_root(self, point: Point, about: str) -> None:
        """Commit the state before the first update of a new run; ``about`` describes the model."""
        if self.base is None:
            kind = "root" if self._committed < 0 else "checkpoint"
            made = self._commit(point, kind, (), [], about)
            settings, rates = apply.read_all(point.live), apply.read_rates(point.live)
            self.expecting = Expectation(settings, rates, [], None, made)

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
        if changes or wants_node or ((save or ends) and self._committed != point.step):
            made = self._commit(point, kind, changes, found, answers.message(found))
        else:
            self._answer_without_node(found, point.step)
        if any(answer.applied for answer in found):
            self.recorder.settings = apply.read_all(point.live)
        settled = [a for a in found if a.state == "applied" and a.wanted]
        if settled:
            wanted = {name: v for answer in settled for name, v in answer.wanted.items()}
            rates = apply.read_rates(point.live)
            self.expecting = Expectation(wanted, rates, settled, None, made)

    @property
    def is_reading(self) -> bool:
        """Whether `before_update` has read something that `after_update` is to compare."""
        return self._used is not None

    def before_update(self, live: Live, step: int) -> None:
        """Read back what update ``step`` is about to use, between backward and the update."""
        expected, self.expecting = self.expecting, None
        if expected is None or self.recorder is None:
            return
        if self.base is not None:
            # By now every part of it has been restored; it is a whole copy of the state.
            self.base.snapshot.tensors.clear()
        self._used = expected, step, apply.used(live)

    def after_update(self, live: Live) -> None:
        """Read back again right after the update: an optimizer may set its settings within it."""
        if self._used is None or self.recorder is None:
            return
        (expected, step, before), self._used = self._used, None
        after = {**before, **apply.in_force(live)}

        def obeyed(wanted: dict[str, Any]) -> bool:
            return all(apply.agrees(wanted, expected.rates, found) for found in (before, after))

        verdicts = [(answer, obeyed(answer.wanted)) for answer in expected.answers]
        effective = {"step": step, "verified": obeyed(expected.wanted), **after}
        del effective["rates"]
        self.recorder.do(lambda: self._record_effect(expected, verdicts, effective))

    def close(self, status: str, error: str | None = None) -> None:
        """Write what is left and end the segment as ``finished``, ``stopped`` or ``failed``."""
        recorder, segment = self.recorder, self._segment
        if recorder is not None and segment is not None:
            recorder.close(lambda: self._end(segment.id, status, error))
        self._database.close()

    def _take(self, live: Live, settings: dict[str, Any], max_steps: int | None) -> None:
        declared = [setting.as_dict() for setting in apply.declare(live)]
        with self._database.transaction() as connection:
            if self._branch is None or self._segment is None:
                run = runs.create_run(
                    connection, self._name, actor=self.actor,
                    entry_point=environment.entry_point(),
                )  # fmt: skip
                self._branch = runs.create_branch(connection, run.id, run.default_branch)
                self._segment = segments.create(connection, run.id, self._branch.id, None, 0)
            self._segment = segments.take(
                connection, self._segment.id, actor=self.actor, declared=declared,
                settings=settings, max_steps=max_steps,
            )  # fmt: skip

    def _carry_out(self, request: Request, point: Point) -> Answer:
        answer = Answer(request)
        try:
            if request.kind == "set":
                answer.wanted = dict(request.requested["values"])
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
            with suppress(Exception):
                apply.write_all(point.live, answer.before or {})
        return answer

    def _commit(
        self,
        point: Point,
        kind: str,
        changes: tuple[Change, ...],
        found: list[Answer],
        message: str,
    ) -> list[Node]:
        """Copy the state now and have it committed in the background; one commit is in flight.

        Returns a list that holds the node as soon as it is durable.
        """
        recorder, segment, branch = self.recorder, self._segment, self._branch
        assert recorder is not None and segment is not None and branch is not None
        made: list[Node] = []
        try:
            # The last state is worth waiting for; any other is not, in the middle of training.
            if not recorder.done(self._free, again=kind == "final"):
                raise StorageError(f"The commit before this one still waits: {recorder.trouble}")
            snapshot = capture.capture(point.live, point.extra(), self._buffers)
        except Exception as error:
            # A state that cannot be captured is no reason to end training.
            self._fail(found, error, point.step)
            return made
        asking = next((answer.request for answer in found), None)
        new = NewNode(
            run_id=branch.run_id, branch_id=branch.id, segment_id=segment.id, parent_id=None,
            step=point.step, epoch=point.epoch, kind=kind, state_digest="",
            settings={**point.live.fixed, **apply.read_all(point.live)},
            param_groups=snapshot.param_groups, changes=changes,
            metrics=dict(self._metrics), message=message,
            actor=asking.actor if asking else self.actor, environment=self._environment,
        )  # fmt: skip
        self._committed = point.step
        self._free = threading.Event()
        recorder.do(self._commit_job(snapshot, new, found, made, self._free))
        return made

    def _commit_job(
        self,
        snapshot: capture.Snapshot,
        new: NewNode,
        found: list[Answer],
        made: list[Node],
        free: threading.Event,
    ) -> Callable[[], None]:
        digested: list[commits.Digested] = []

        def job() -> None:
            try:
                if not digested:
                    digested.append(commits.digests(snapshot))
                self._write(digested[0], new, found, made)
            except Exception as error:
                if _of_database(error):
                    # Tried again; till then the snapshot keeps its buffers.
                    raise
                self._fail(found, error, new.step)
            free.set()

        return job

    def _write(
        self, digested: commits.Digested, new: NewNode, found: list[Answer], made: list[Node]
    ) -> None:
        assert self.recorder is not None
        carried = [answer for answer in found if answer.state in ("applied", "done")]
        node = commits.commit(
            self._database, self._store, digested, replace(new, parent_id=self._head), carried,
            self.actor,
        )  # fmt: skip
        self._head = node.id
        made.append(node)
        self.recorder.well("commit")
        self._answer_without_node([a for a in found if a not in carried], new.step)

    def _fail(self, found: list[Answer], error: Exception, step: int) -> None:
        assert self.recorder is not None
        logger.debug("branchtrack committed no node at step %d", step, exc_info=error)
        self.recorder.report("commit", error)
        for answer in found:
            if answer.state in ("applied", "done") and answer.request.kind != "evaluate":
                answer.state = "failed"
                answer.error = f"It was applied, but no node was committed: {error}"
        self._answer_without_node(found, step)

    def _answer_without_node(self, found: list[Answer], step: int) -> None:
        if found and self.recorder is not None:
            self.recorder.do(lambda: self._answer(found, step))

    def _answer(self, found: list[Answer], step: int) -> None:
        with self._database.transaction() as connection:
            for answer in found:
                commits.tell(connection, answer, self.actor, step=step)

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


def _of_database(error: Exception) -> bool:
    """Whether it was the database that failed, not the disk of the store."""
    return isinstance(error, SchemaError) or (
        isinstance(error, StorageError) and "path" not in error.facts
    )

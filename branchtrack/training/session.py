"""A training process's part in a run: its segment, its control points, its nodes.

Serves any PyTorch loop; a loop gives it live objects and calls it between updates. The training
thread only tests flags, applies and copies; all I/O is the recorder's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from branchtrack import config as configuration
from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.names import as_name
from branchtrack.core.records import Branch, Change, NewNode, Node, Request, Segment
from branchtrack.db import launches, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import BranchtrackError
from branchtrack.training import apply, capture, commits, environment
from branchtrack.training.apply import Live
from branchtrack.training.commits import Answer
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


@dataclass
class _Expectation:
    """Settings that the next update must be seen to use, and who is to be told."""

    wanted: dict[str, Any]
    lr_now: float
    answers: list[Answer]
    restored: dict[str, str] | None
    nodes: list[Node]


class Session:
    """One segment, from opening the database to the last record."""

    def __init__(self, database: Database, store: Store, name: str, base: Base | None) -> None:
        self.base = base
        self.stop_asked = False
        self.expecting: _Expectation | None = None
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
        with database.read() as connection:
            launch = launches.get(connection, launch_id)
            fork = nodes.get(connection, launch.fork_node_id)
            stored = nodes.checkpoint(connection, fork.state_digest)
        session = cls(database, store, run_name, Base(fork, commits.load(store, stored, fork)))
        with database.read() as connection:
            session._branch = runs.get_branch(connection, launch.branch_id)
            session._segment = segments.get(connection, launch.segment_id)
        return session

    def begin(self, point: Point, max_steps: int | None, about: str) -> None:
        """Take the segment and, in a new run, commit the root node; ``about`` describes the model.

        Raises:
            IllegalTransition: another process trains this segment.
        """
        live = point.live
        settings = apply.read_all(live)
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
        self.recorder = Recorder(self._database, self._segment.id, point.step)
        self.recorder.settings = settings
        if self.base is None:
            root = self._commit(point, "root", (), [], about)
            self.expecting = _Expectation(settings, apply.read_lr_now(live), [], None, root)
        else:
            self._committed = point.step
            wanted = {change.name: change.after for change in self.base.fork.changes}
            parts = restored_parts(self.base.snapshot, wanted)
            self.expecting = _Expectation(
                wanted or settings, apply.read_lr_now(live), [], parts, [self.base.fork]
            )

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step; what is not a number is passed over."""
        numbers = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        self._metrics.update(numbers)
        if self.recorder is not None:
            self.recorder.log(step, numbers)

    def control_point(self, point: Point, *, save: bool, final: bool) -> None:
        """Carry out what has been asked, and commit a node where one is due.

        ``save``: the loop wants a checkpoint. ``final``: this is the state that training ends in.
        """
        assert self.recorder is not None
        answers = [self._carry_out(request, point) for request in self.recorder.take()]
        _supersede(answers)
        changes = _changes(answers)
        ends = final or self.stop_asked
        kind = "final" if ends else "intervention" if changes else "checkpoint"
        asked = any(a.state != "failed" and a.request.kind != "evaluate" for a in answers)
        made: list[Node] = []
        if changes or asked or ((save or ends) and self._committed != point.step):
            made = self._commit(point, kind, changes, answers, _message(answers))
        else:
            self._answer_without_node(answers, point.step)
        settled = [a for a in answers if a.state == "applied" and a.wanted]
        if settled:
            self.recorder.settings = apply.read_all(point.live)
            wanted = {name: v for answer in settled for name, v in answer.wanted.items()}
            lr_now = apply.read_lr_now(point.live)
            self.expecting = _Expectation(wanted, lr_now, settled, None, made)

    def before_update(self, live: Live, step: int) -> None:
        """Read back, where the maths uses it, what update ``step`` is about to use."""
        expected, self.expecting = self.expecting, None
        if expected is None or self.recorder is None:
            return
        found = apply.used(live)
        verdicts = [
            (answer, apply.agrees(live, answer.wanted, expected.lr_now, found))
            for answer in expected.answers
        ]
        verified = apply.agrees(live, expected.wanted, expected.lr_now, found)
        effective = {"step": step, "verified": verified, **found}
        self.recorder.do(lambda: self._record_effect(expected, verdicts, effective))

    def close(self, status: str, error: str | None = None) -> None:
        """Write what is left and end the segment as ``finished``, ``stopped`` or ``failed``."""
        recorder, segment = self.recorder, self._segment
        if recorder is not None and segment is not None:
            recorder.do(lambda: self._end(segment.id, status, error))
            recorder.close()
        self._database.close()

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
            if answer.before:
                apply.write_all(point.live, answer.before)
        return answer

    def _commit(
        self,
        point: Point,
        kind: str,
        changes: tuple[Change, ...],
        answers: list[Answer],
        message: str,
    ) -> list[Node]:
        """Copy the state now and have it committed in the background; one commit is in flight.

        Returns a list that holds the node as soon as it is durable.
        """
        recorder, segment, branch = self.recorder, self._segment, self._branch
        assert recorder is not None and segment is not None and branch is not None
        made: list[Node] = []
        try:
            if not recorder.done(self._free):
                raise BranchtrackError("The commit before this one has not been written yet.")
            snapshot = capture.capture(point.live, point.extra(), self._buffers)
        except BranchtrackError as error:
            self._fail(answers, error, point.step)
            return made
        asking = next((answer.request for answer in answers), None)
        new = NewNode(
            run_id=branch.run_id, branch_id=branch.id, segment_id=segment.id, parent_id=None,
            step=point.step, epoch=point.epoch, kind=kind, state_digest="",
            settings={**point.live.fixed, **apply.read_all(point.live)},
            param_groups=snapshot.param_groups, changes=changes,
            metrics=dict(self._metrics), message=message,
            actor=asking.actor if asking else self.actor, environment=self._environment,
        )  # fmt: skip
        self._committed = point.step
        self._free = free = threading.Event()

        def job() -> None:
            try:
                self._write(snapshot, new, answers, made)
            finally:
                free.set()

        recorder.do(job)
        return made

    def _write(
        self, snapshot: capture.Snapshot, new: NewNode, answers: list[Answer], made: list[Node]
    ) -> None:
        carried = [answer for answer in answers if answer.state in ("applied", "done")]
        try:
            node = commits.commit(
                self._database, self._store, snapshot, replace(new, parent_id=self._head),
                carried, self.actor,
            )  # fmt: skip
        except BranchtrackError as error:
            self._fail(answers, error, new.step)
            return
        self._head = node.id
        made.append(node)
        self._answer_without_node([a for a in answers if a not in carried], new.step)

    def _fail(self, answers: list[Answer], error: BranchtrackError, step: int) -> None:
        logger.warning("branchtrack committed no node at step %d: %s", step, error)
        for answer in answers:
            answer.error = answer.error or f"It was applied, but no node was committed: {error}"
            answer.state = "failed" if answer.state != "superseded" else answer.state
        self._answer_without_node(answers, step)

    def _answer_without_node(self, answers: list[Answer], step: int) -> None:
        if answers and self.recorder is not None:
            self.recorder.do(lambda: self._answer(answers, step))

    def _answer(self, answers: list[Answer], step: int) -> None:
        with self._database.transaction() as connection:
            for answer in answers:
                states = ["applied", "done"] if answer.state == "done" else [answer.state]
                for state in states:
                    requests.move(
                        connection, answer.request.id, state, actor=self.actor, step=step,
                        error=answer.error, before=answer.before, result=answer.result,
                    )  # fmt: skip

    def _record_effect(
        self,
        expected: _Expectation,
        verdicts: list[tuple[Answer, bool]],
        effective: dict[str, Any],
    ) -> None:
        with self._database.transaction() as connection:
            for node in expected.nodes:
                nodes.set_effective(connection, node.id, effective, expected.restored)
            for answer, ok in verdicts:
                if answer.state == "applied":
                    state = "verified" if ok else "ineffective"
                    requests.move(
                        connection, answer.request.id, state, actor=self.actor, effective=effective
                    )

    def _end(self, segment_id: str, status: str, error: str | None) -> None:
        with self._database.transaction() as connection:
            control.expire_unanswered(
                connection, segment_id, self.actor, "The training process ended first."
            )
            segments.end(connection, segment_id, status, actor=self.actor, error=error)


def restored_parts(snapshot: capture.Snapshot, replaced: Mapping[str, Any]) -> dict[str, str]:
    """For each part of the state whether it was restored, reset or replaced."""
    parts = {"weights": "restored", "optimizer": "restored", "rng": "restored"}
    parts["scheduler"] = "restored" if snapshot.state["scheduler"] is not None else "reset"
    parts["data position"] = parts["counters"] = "restored"
    return {**parts, **{name: "replaced" for name in replaced}}


def _changes(answers: list[Answer]) -> tuple[Change, ...]:
    """Every changed setting with its value before the first change and after the last."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for answer in answers:
        for name, value in (answer.applied or {}).items():
            before.setdefault(name, (answer.before or {})[name])
            after[name] = value
    return tuple(
        Change(name, before[name], after[name]) for name in after if before[name] != after[name]
    )


def _supersede(answers: list[Answer]) -> None:
    """Of two requests for one setting at one control point the earlier is superseded."""
    later: set[str] = set()
    for answer in reversed(answers):
        if answer.request.kind != "set" or answer.state != "applied":
            continue
        answer.wanted = {name: v for name, v in answer.wanted.items() if name not in later}
        if not answer.wanted:
            answer.state = "superseded"
        later.update(answer.wanted)


def _message(answers: list[Answer]) -> str:
    reasons = [answer.request.reason for answer in answers if answer.request.reason]
    notes = [str(answer.request.requested.get("message") or "") for answer in answers]
    return "; ".join(text for text in [*reasons, *notes] if text)

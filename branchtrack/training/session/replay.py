"""A session that trains a stretch of a branch again to compare, and records only the verdict.

The loop gets the same calls, and control points where its first training committed nodes; the
changes made at them are repeated. At the later node's step the state is captured as for a commit
and compared, a certificate is written, and the process exits at once: a trial must not run what a
script does after its training.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.core import exactness
from branchtrack.core.exactness import Trial
from branchtrack.core.records import Certificate, Node, StoredCheckpoint
from branchtrack.db import certificates, launches, nodes, requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.record import commits, environment
from branchtrack.training.record.committer import Point
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.session import state_diff
from branchtrack.training.session.session import Base, Session, origin
from branchtrack.training.settings import apply
from branchtrack.training.settings.apply import Live
from branchtrack.training.state import snapshots
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.steer import execution

#: Repeats one change, on live objects and with the author's own actions.
Change = Callable[[Live, execution.Actions], None]
#: Seconds between two reports of the training's progress.
_TELL_EVERY = 0.2


@dataclass(frozen=True)
class Score:
    """What is to be replayed: the later node, its bytes, and what happened at which step.

    ``nodes`` are the steps at which the first training committed; ``changes`` repeat the requested
    changes, in order of arrival, by step.
    """

    target: Node
    stored: StoredCheckpoint
    nodes: frozenset[int]
    changes: Mapping[int, list[Change]]


def rehearse(database: Database, store: Store, text: str) -> Rehearsal:
    """Return the session of a process that was started for a trial.

    Raises:
        CheckpointError, NotFound: before any training.
    """
    try:
        trial = Trial.from_text(text)
        with database.read() as connection:
            start = nodes.get(connection, trial.start)
            stored = nodes.checkpoint(connection, start.state_digest)
            mode = launches.mode_of(connection, start.id) or "exact"
            trained, overrides = origin(connection, start)
            script = segments.get(connection, trained.segment_id).script
            score = _score(connection, start, nodes.get(connection, trial.target))
        snapshot = commits.load(store, stored, start)
        base = Base(start, snapshot, trained, mode, overrides, script)
        return Rehearsal(database, store, base, trial, score)
    except BaseException:
        database.close()
        traceback.print_exc()
        leave(1)
        raise


class Prompter:
    """Takes the place of a session's recorder, and writes nothing.

    ``waiting`` is true at the steps where control points are expected, and after ``last``.
    """

    def __init__(self, step: int, at: set[int], last: int, tell: Callable[[int], None]) -> None:
        self.settings: dict[str, Any] = {}
        self.awaits: frozenset[str] = frozenset()
        self._step, self._at, self._last, self._tell = step, at, last, tell

    @property
    def step(self) -> int:
        """The newest update's number."""
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step
        self._tell(step)

    @property
    def waiting(self) -> bool:
        """Whether the loop should reach a control point at this step."""
        return self._step in self._at or self._step > self._last

    def seen(self, step: int) -> None:
        """Note that there was a control point at ``step``."""
        self._at.discard(step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Discard the metrics of a trial."""
        del step, values


class Rehearsal(Session):
    """One stretch of a segment, trained again; see `Session` for what a loop calls."""

    rehearses = True

    def __init__(
        self, database: Database, store: Store, base: Base, trial: Trial, score: Score
    ) -> None:
        super().__init__(database, store, base)
        self._trial, self._score = trial, score
        self._start, self._told = base.fork, 0.0
        self._watcher = trial.watcher or os.getppid()
        self._changes = dict(score.changes)
        self._nearest: tuple[str, dict[str, Any]] | None = None
        self._over = False

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Begin without taking a segment."""
        if self.recorder is None:
            at = {*self._score.nodes, *self._score.changes}
            prompter = Prompter(point.step, at, self._score.target.step, self._tell_step)
            # It has what a loop uses of a recorder; no other code here uses the recorder.
            self.recorder = cast(Recorder, prompter)

    def commit_root(self, point: Point, about: str) -> None:
        """Do nothing: the state before the first update is not a node of a trial."""

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Repeat the changes made here, and compare if this is the later node's step."""
        prompter, target = cast(Prompter, self.recorder), self._score.target
        if point.step > target.step and self._nearest is not None:
            self._conclude(*self._nearest)
        for change in self._changes.pop(point.step, ()):
            change(point.live, self.actions)
        prompter.seen(point.step)
        if point.step > target.step:
            raise _missed(target, point.step)
        if point.step < target.step:
            if save or point.step in self._score.nodes:
                # As for a commit: a loop that accumulates values sums them up then.
                point.extra()
            return
        digest, difference = self._compare(point)
        if difference is None or target.kind != "final":
            self._conclude(digest, difference)
        elif self._nearest is not None:
            self._conclude(*self._nearest)
        else:
            # It may have been captured later in this step, after the evaluation of an epoch.
            self._nearest = digest, difference

    def close(self, status: str, error: str | None = None) -> None:
        """Exit the process: training has ended, and with it the trial, possibly as a failure."""
        if self._over:
            return
        if self._nearest is not None and status != "stopped":
            self._conclude(*self._nearest)
        self._database.close()
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        elif status != "failed":
            step = self._start.step if self.recorder is None else self.recorder.step
            print(f"{_missed(self._score.target, step)}", file=sys.stderr)
        self._over = True
        leave(1)

    def _compare(self, point: Point) -> tuple[str, dict[str, Any] | None]:
        """Return the digest that training reached, and how its state differs from the node's."""
        snapshot = snapshots.capture(point.live, point.extra(), Buffers())
        digested = commits.digests(snapshot)
        settings = {**point.live.fixed, **apply.read_all(point.live)}
        score = self._score
        return digested[0].digest, state_diff.first(
            self.store, score.stored, score.target, digested, settings, snapshot.param_groups
        )

    def _conclude(self, digest: str, difference: dict[str, Any] | None) -> None:
        """Write the certificate, and exit."""
        target, now = self._score.target, environment.describe()
        processes = int(os.environ.get("WORLD_SIZE") or 1)
        now |= {"world_size": processes} if processes > 1 else {}
        certificate = Certificate(
            id=self._trial.certificate,
            run_id=target.run_id,
            branch_id=target.branch_id,
            from_node_id=self._start.id,
            to_node_id=target.id,
            digest=digest,
            difference=difference,
            environment=now,
            created_at=time.time(),
            untested=exactness.untested(now, target.environment, self.uncovered),
            actor=self.actor,
        )
        with self._database.transaction() as connection:
            certificates.add(connection, certificate, target.step)
        self._over = True
        self._database.close()
        leave(0)

    def _tell_step(self, step: int) -> None:
        """Report the training's progress; end it if the process that listens is gone."""
        if self.base is not None and step > self._start.step:
            # By now every part of it has been restored; it is a full copy of the state.
            self.base.snapshot.tensors.clear()
        if os.getppid() != self._watcher:
            self._abandon()
        if self._trial.progress and time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            with suppress(OSError):
                Path(self._trial.progress).write_text(str(step))

    def _abandon(self) -> None:
        print("The process that asked for this trial is gone.", file=sys.stderr)
        folder = Path(self._trial.progress).parent
        if self._trial.progress and folder.name.startswith("branchtrack-"):
            shutil.rmtree(folder, ignore_errors=True)
        leave(1)


def leave(code: int) -> None:
    """End the process here, without the script's handlers or any code after its training."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


def _score(connection: Connection, start: Node, target: Node) -> Score:
    """Return what the first training did between two nodes of one segment."""
    stored = nodes.checkpoint(connection, target.state_digest)
    between = range(start.step + 1, target.step + 1)
    nodes_between = [
        candidate
        for candidate in nodes.of_segment(connection, target.segment_id)
        if candidate.step in between
    ]
    changes: dict[int, list[Change]] = {}
    for request in requests.carried_out(connection, target.segment_id):
        if request.step is not None and request.step in between:
            changes.setdefault(request.step, []).append(partial(execution.replay, request))
    for node in nodes_between:
        # A change that took effect at another step was requested there.
        values = {change.name: change.after for change in node.changes if change.step is None}
        if values and node.step not in changes and node.kind != "fork":
            # Changes without a request are the loop's own.
            changes[node.step] = [partial(_write, values)]
    return Score(target, stored, frozenset(candidate.step for candidate in nodes_between), changes)


def _write(values: Mapping[str, Any], live: Live, actions: execution.Actions) -> None:
    del actions
    apply.write_all(live, apply.normalize(live, values))


def _missed(target: Node, step: int) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"Training reached step {step}, but not node {target.id} at step {target.step}.",
        safe="Nothing was recorded.",
        fix="Let the script train as it did when it created the node.",
        field="step",
        expected=target.step,
        found=step,
    )

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
from typing import Any

from sqlalchemy import Connection

from branchtrack import processes
from branchtrack.checkpoints.manifest import Manifest, TensorBytes
from branchtrack.checkpoints.packs import Store
from branchtrack.core import exactness
from branchtrack.core.exactness import Trial
from branchtrack.core.records import Certificate, Node, StoredCheckpoint
from branchtrack.db import certificates, nodes, requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import CheckpointMismatch, RankLost
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.ranks.models import group_size
from branchtrack.training.record import commits, environment, state_diff
from branchtrack.training.record.committer import Point
from branchtrack.training.record.ranks import joint, rebuilt
from branchtrack.training.session.base import Base, UnrecordedSession, origin, reshuffles
from branchtrack.training.settings import apply
from branchtrack.training.settings.apply import Live
from branchtrack.training.state import shares, snapshots
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.steer import execution

#: Repeats one change, on live objects and with the author's own actions.
Change = Callable[[Live, execution.Actions], None]
#: Seconds between two reports of the training's progress.
_REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class ReplayPlan:
    """What is to be replayed: the later node, its bytes, and what happened at which step.

    ``nodes`` are the steps at which the first training committed; ``changes`` repeat the requested
    changes, in order of arrival, by step.
    """

    target: Node
    stored: StoredCheckpoint
    nodes: frozenset[int]
    changes: Mapping[int, list[Change]]


def open_replay(
    database: Database, store: Store, text: str, channel: Channel | None = None
) -> ReplaySession:
    """Return the session of a process that was started for a trial; of several each has one.

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
            redrawn = reshuffles(connection, start)
            plan = _plan(connection, start, nodes.get(connection, trial.target))
        snapshot = commits.load(store, stored, start, 0 if channel is None else channel.rank)
        base = Base(start, snapshot, trained, mode, overrides, script, reshuffles=redrawn)
        return ReplaySession(database, store, base, trial, plan, channel)
    except BaseException:
        database.close()
        traceback.print_exc()
        leave(1)
        raise


class ReplaySession(UnrecordedSession):
    """One stretch of a segment, trained again; its loop is never asked to stop.

    It expects control points at the steps of its plan, and at every step after the last.
    """

    stop_asked = False

    def __init__(
        self,
        database: Database,
        store: Store,
        base: Base,
        trial: Trial,
        plan: ReplayPlan,
        channel: Channel | None = None,
    ) -> None:
        super().__init__(database, store, base)
        self._channel, self._compared = channel, 0
        if channel is not None:
            channel.open()
        self._trial, self._plan = trial, plan
        self._start, self._reported_at = base.fork, 0.0
        self._watcher = trial.watcher
        self._parent = os.getppid()
        self._changes = dict(plan.changes)
        self._nearest: tuple[str, dict[str, Any]] | None = None
        self._over = False
        self._step: int | None = None
        self._awaited = {*plan.nodes, *plan.changes}

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Begin without taking a segment."""
        if self._step is None:
            self._step = point.step

    @property
    def is_begun(self) -> bool:
        """Whether `begin` was called."""
        return self._step is not None

    @property
    def is_called(self) -> bool:
        """Whether the loop should reach a control point at this step."""
        step = self._step
        return step is not None and (step in self._awaited or step > self._plan.target.step)

    def ready(self, point: Point) -> None:
        """Repeat the changes made before the first update."""
        if point.step == self._start.step:
            for change in self._changes.pop(point.step, ()):
                change(point.live, self.actions)

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return whether anything is to be done at a control point."""
        return self.is_called or save

    def advance(self, step: int) -> None:
        """Report the training's progress; end it if the process that listens is gone."""
        self._step = step
        if step > self._start.step:
            # By now every part of it has been restored.
            self.release_snapshot()
        if os.getppid() != self._parent or not is_watched(self._watcher):
            self._abandon()
        if self._trial.progress and time.monotonic() - self._reported_at > _REPORT_SECONDS:
            self._reported_at = time.monotonic()
            with suppress(OSError):
                Path(self._trial.progress).write_text(str(step))

    def ignored(self) -> None:
        """Do nothing: it never asks to stop."""

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Repeat the changes made here, and compare if this is the later node's step."""
        target = self._plan.target
        if point.step > target.step and self._nearest is not None:
            self._conclude(*self._nearest)
        for change in self._changes.pop(point.step, ()):
            change(point.live, self.actions)
        self._awaited.discard(point.step)
        if point.step > target.step:
            raise _missed(target, point.step)
        if point.step < target.step:
            if save or point.step in self._plan.nodes:
                # As for a commit: a loop that accumulates values sums them up then.
                point.extra()
            return
        if self._trial.rebuild:
            self._rebuild(point)
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
            step = self._start.step if self._step is None else self._step
            print(f"{_missed(self._plan.target, step)}", file=sys.stderr)
        self._over = True
        leave(1)

    def _compare(self, point: Point) -> tuple[str, dict[str, Any] | None]:
        """Return the digest that training reached, and how its state differs from the node's."""
        channel = self._channel
        if channel is not None and not channel.leads:
            self._post_part(channel, point)
            digest, difference = channel.wait(f"compared/{self._compared}", 0)
            return digest, difference
        settings = {**point.live.fixed, **apply.read_all(point.live)}
        plan = self._plan
        digested, groups, _ = self._captured(point)
        difference = state_diff.first(
            self.store, plan.stored, plan.target, digested, settings, groups
        )
        if channel is not None:
            channel.post(f"compared/{self._compared}", [digested[0].digest, difference])
        return digested[0].digest, difference

    def _captured(
        self, point: Point
    ) -> tuple[commits.Digested, list[dict[str, Any]], joint.JointState | None]:
        """Return the state that training reached, its groups, and of several ranks who holds it."""
        snapshot = snapshots.capture(point.live, point.extra(), Buffers())
        digested = commits.digests(snapshot)
        if self._channel is None:
            return digested, snapshot.param_groups, None
        self._compared += 1
        recorded = Manifest.from_json(self._plan.stored.manifest)
        whole, held = joint.compared(
            self._channel, self._compared, digested, snapshot.layouts, recorded
        )
        return whole, snapshot.param_groups, held

    def _post_part(self, channel: Channel, point: Point) -> dict[str, TensorBytes]:
        """Give rank 0 what this rank holds, and return its tensors by digest."""
        self._compared += 1
        snapshot = shares.capture(point.live, point.extra(), Buffers(), channel.rank)
        manifest, tensors = commits.digests(snapshot)
        part = joint.Part(manifest.entries, snapshot.layouts, snapshot.state)
        channel.post(f"compared/{self._compared}/{channel.rank}", part.to_json())
        return tensors

    def _rebuild(self, point: Point) -> None:
        """Store the state if it is the recorded one, and exit; else note its digest.

        The final node may have been captured later in its step, after the evaluation of an epoch.
        """
        target, channel = self._plan.target, self._channel
        if channel is not None and not channel.leads:
            tensors = self._post_part(channel, point)
            digest = channel.wait(f"compared/{self._compared}", 0)
            if digest == target.state_digest:
                rebuilt.take_part(channel, self._database, self.store, tensors)
        else:
            digested, _, held = self._captured(point)
            digest = digested[0].digest
            if digest != target.state_digest:
                Path(self._trial.reached).write_text(digest)
            if channel is not None:
                channel.post(f"compared/{self._compared}", digest)
            if digest == target.state_digest:
                self._restore(digested, held)
        is_same = digest == target.state_digest
        if is_same or target.kind != "final":
            self._over = True
            self._database.close()
            leave(0 if is_same else 1)

    def _restore(self, digested: commits.Digested, held: joint.JointState | None) -> None:
        database, store, target = self._database, self.store, self._plan.target
        if self._channel is None or held is None:
            commits.restore(database, store, digested, target, self.actor)
        else:
            rebuilt.restore(self._channel, database, store, digested, held, target, self.actor)

    def _conclude(self, digest: str, difference: dict[str, Any] | None) -> None:
        """Write the certificate, and exit."""
        if self._channel is not None and not self._channel.leads:
            with suppress(RankLost):
                self._channel.wait("concluded", 0)
            self._over = True
            leave(0)
        target, now = self._plan.target, environment.describe()
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
        if self._channel is not None:
            self._channel.post("concluded", True)
        self._over = True
        self._database.close()
        leave(0)

    def _abandon(self) -> None:
        print("The process that asked for this trial is gone.", file=sys.stderr)
        folder = Path(self._trial.progress).parent
        if self._trial.progress and folder.name.startswith("branchtrack-"):
            shutil.rmtree(folder, ignore_errors=True)
        leave(1)


def is_watched(watcher: int | None) -> bool:
    """Return whether the process that asked for this one is there: its parent, but for processes
    that a launcher of several has started.
    """
    if not watcher or os.getppid() == watcher:
        return True
    return group_size() is not None and processes.is_alive(watcher)


def leave(code: int) -> None:
    """End the process here, without the script's handlers or any code after its training."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


def _plan(connection: Connection, start: Node, target: Node) -> ReplayPlan:
    """Return what the first training did between two nodes of one segment."""
    stored = nodes.checkpoint(connection, target.state_digest, need="record")
    between = range(start.step + 1, target.step + 1)
    nodes_between = [
        candidate
        for candidate in nodes.of_segment(connection, target.segment_id)
        if candidate.step in between
    ]
    changes: dict[int, list[Change]] = {}
    # Nodes at one step: what was changed there after the first is still to be changed.
    later = {
        node.id
        for node in nodes.of_segment(connection, target.segment_id)
        if node.step == start.step and node.seq > start.seq
    }
    for request in requests.carried_out(connection, target.segment_id):
        if request.step in between or request.node_id in later:
            assert request.step is not None
            changes.setdefault(request.step, []).append(partial(execution.replay, request))
    for node in nodes_between:
        # A change that took effect at another step was requested there.
        values = {change.name: change.after for change in node.changes if change.step is None}
        if values and node.step not in changes and node.kind != "fork":
            # Changes without a request are the loop's own.
            changes[node.step] = [partial(_write, values)]
    return ReplayPlan(
        target, stored, frozenset(candidate.step for candidate in nodes_between), changes
    )


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

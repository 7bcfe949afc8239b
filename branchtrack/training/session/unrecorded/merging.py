"""A session that commits the average of two nodes' weights where a training would begin.

The script makes its objects as for a resume in mode ``weights``, with the average in place of the
node's weights. Before any update they are read back from the live model, evaluated as a request
would, and committed as a branch that has ended; then the process exits at once. Nothing is in the
record before that one transaction.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import Manifest, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.sharded import whole_entries
from branchtrack.checkpoints.tensors import to_bytes
from branchtrack.core.forks import merges
from branchtrack.core.forks.merges import Merge
from branchtrack.core.records import NewNode, Node, Segment, StoredCheckpoint
from branchtrack.db import metrics, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import references
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.record import code, commits, environment, logged_values
from branchtrack.training.record.committer import Point
from branchtrack.training.session import registration
from branchtrack.training.session.base import Base, UnrecordedSession, origin
from branchtrack.training.session.unrecorded.replay import is_watched, leave
from branchtrack.training.state import averages, pieces, snapshots, weights
from branchtrack.training.state.snapshots import Snapshot

#: Seconds that a merge waits for git.
_CODE_SECONDS = 5.0


def open_merge(database: Database, store: Store, text: str) -> MergeSession:
    """Return the session of a process that was started for a merge.

    Raises:
        CheckpointError, NotFound: before anything is evaluated.
    """
    try:
        order = Merge.from_text(text)
        with database.read() as connection:
            a, b = nodes.get(connection, order.a), nodes.get(connection, order.b)
            of_a, of_b = _weights(connection, a), _weights(connection, b)
            trained, _ = origin(connection, a)
            script = segments.get(connection, trained.segment_id).script
        entries = whole_entries(of_a.manifest), whole_entries(of_b.manifest)
        names = set(merges.averaged(*entries))
        if not names or merges.difference(*entries):
            raise ValueError(merges.difference(*entries) or "The weights are the same.")
        whole, other = commits.load(store, of_a, a), commits.load(store, _only(of_b, names), b)
        weights_a = {name: pieces.whole(tensor) for name, tensor in whole.tensors.items()}
        weights_b = {name: pieces.whole(tensor) for name, tensor in other.tensors.items()}
        tensors = averages.averaged(weights_a, weights_b, names, order.weights)
        snapshot = Snapshot(tensors, merges.state_of(whole.state), a.param_groups)
        restored = merges.restored(a.id, b.id, order.weights, merges.taken_from_a(*entries))
        base = Base(a, snapshot, trained, "weights", script=script, parts=restored)
        return MergeSession(database, store, base, order)
    except BaseException:
        database.close()
        traceback.print_exc()
        leave(1)
        raise


class MergeSession(UnrecordedSession):
    """The commit of a merge; its loop never gets past its beginning.

    A loop that makes its first update before it calls the run is let do so: the weights are put
    back before they are evaluated.
    """

    stop_asked = False
    is_called = True

    def __init__(self, database: Database, store: Store, base: Base, order: Merge) -> None:
        super().__init__(database, store, base)
        self._order, self._resumed, self._restored = order, base, dict(base.parts)
        self._digested = commits.digests(base.snapshot)
        self._surroundings = environment.surroundings()
        self._script: dict[str, Any] | None = None
        self._begun = self._over = False

    @property
    def is_begun(self) -> bool:
        """Whether `begin` was called."""
        return self._begun

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Begin without taking a segment."""
        self._script = None if script is None else dict(script)
        self._begun = True
        code.begin(os.getpid())

    def ready(self, point: Point) -> None:
        """Read the weights back, evaluate and commit them, and exit."""
        if self._over:
            return
        self._over = True
        try:
            self._commit(point)
        except BaseException:
            traceback.print_exc()
            self._database.close()
            leave(1)
            raise
        self._database.close()
        leave(0)

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return true: the merge is made at the first control point at the latest."""
        return True

    def advance(self, step: int) -> None:
        """Do nothing: the control point comes next."""

    def ignored(self) -> None:
        """Do nothing: it never asks to stop."""

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Put the weights in place once more, and commit: the loop did not say that it begins."""
        model = point.live.model
        weights.take(model, snapshots.fit(model, self._resumed.snapshot), {})
        self.ready(point)

    def close(self, status: str, error: str | None = None) -> None:
        """Exit the process: its script has ended without training."""
        if self._over:
            return
        self._over = True
        self._database.close()
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        leave(1)

    def _commit(self, point: Point) -> None:
        _must_hold(point.live.model, self._digested[0])
        numbers: dict[str, float] = {}
        if self.evaluates:
            numbers, refused = logged_values.numbers(point.evaluate())
            for name, why in refused.items():
                print(f"{name} is not recorded: {why}", file=sys.stderr)
        facts = registration.facts_of(point.live, self.actions, evaluates=self.evaluates)
        reading = code.begin(os.getpid())
        reading.join(_CODE_SECONDS)
        if not is_watched(self._order.watcher):
            raise RuntimeError("The process that asked for this merge is gone.")

        def write(connection: Connection) -> None:
            segment = self._take_segment(connection, facts)
            if reading.code is not None:
                code.record(connection, segment.id, reading.code)
            nodes.commit(connection, self._node(segment, numbers))
            now, step = time.time(), segment.step
            metrics.append(
                connection, segment.id, [(name, step, v, now) for name, v in numbers.items()]
            )
            segments.end(connection, segment.id, "finished", actor=self._order.actor)

        commits.store_with(
            self._database, self.store, self._digested, write, left=references.WEIGHTS
        )

    def _take_segment(self, connection: Connection, facts: Mapping[str, Any]) -> Segment:
        """Create the branch, and its segment as this process's own."""
        order, a = self._order, self._resumed.fork
        runs.lock_names(connection, a.run_id)
        nodes.check_listed(connection, [a.id, order.b])
        name = order.name or merges.free_branch(runs.branch_names(connection, a.run_id))
        branch = runs.create_branch(connection, a.run_id, name, a.id, branch_id=order.branch)
        segment = segments.create(connection, a.run_id, branch.id, a.id, a.step)
        return segments.take(
            connection,
            segment.id,
            actor=order.actor,
            settings=a.settings,
            max_steps=None,
            script=self._script,
            environment=environment.with_later_modules(self._surroundings),
            **facts,
        )

    def _node(self, segment: Segment, numbers: Mapping[str, float]) -> NewNode:
        order, a = self._order, self._resumed.fork
        return NewNode(
            run_id=a.run_id,
            branch_id=segment.branch_id,
            segment_id=segment.id,
            parent_id=a.id,
            step=a.step,
            epoch=a.epoch,
            kind="merge",
            state_digest=self._digested[0].digest,
            settings=a.settings,
            param_groups=a.param_groups,
            metrics=dict(numbers),
            message=order.message,
            actor=order.actor,
            environment=environment.describe(),
            restored=self._restored,
            merge_parent_id=order.b,
        )


def _weights(connection: Connection, node: Node) -> StoredCheckpoint:
    """Return the checkpoint of a node as one that has its weights alone."""
    stored = nodes.checkpoint(connection, node.state_digest, need="weights")
    return replace(stored, manifest=references.weights_alone(stored.manifest))


def _only(stored: StoredCheckpoint, names: set[str]) -> StoredCheckpoint:
    if "sharded" in stored.manifest:
        return stored
    listed = [entry for entry in stored.manifest["tensors"] if entry[0] in names]
    return replace(stored, manifest={**stored.manifest, "tensors": listed})


def _must_hold(model: torch.nn.Module, expected: Manifest) -> None:
    """Read all weights back from a live model.

    Raises:
        CheckpointMismatch: one of them is not as expected.
    """
    # A merge is made by one process, which holds all rows of what is sharded.
    held = snapshots.model_tensors(model).items()
    live = {f"model/{name}": pieces.local(value) for name, value in held}
    recorded = {entry.name: entry.digest for entry in expected.whole}
    for name in sorted(live.keys() | recorded.keys()):
        digest = _digest(name, live[name]) if name in live else None
        if digest != recorded.get(name):
            raise CheckpointMismatch(
                f"The script's model does not hold the average of {name.removeprefix('model/')}.",
                safe="Nothing was recorded.",
                fix="Merge with the script that trained the nodes.",
                field=name,
                expected=recorded.get(name),
                found=digest,
            )


def _digest(name: str, tensor: torch.Tensor) -> str:
    content = to_bytes(name, tensor.detach().cpu().contiguous())
    return tensor_digest(content.dtype, content.shape, content.data)

"""The nodes of one segment: the state is copied at once, written in the background.

The training thread pays for the copy alone. One commit is in flight at a time, whose snapshot
keeps its buffers until it is durable or given up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change, NewNode, Node, Segment
from branchtrack.db.engine import Database
from branchtrack.errors import SchemaError, StorageError
from branchtrack.training import apply, capture, commits, environment
from branchtrack.training.answers import Answer
from branchtrack.training.apply import Live
from branchtrack.training.buffers import Buffers
from branchtrack.training.recorder import Recorder

logger = logging.getLogger("branchtrack")


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


class Committer:
    """Makes nodes of snapshots, and answers the requests that they or nothing came of.

    ``committed`` is the step of the newest snapshot, -1 before the first; ``free`` is set while no
    commit is in flight; ``head`` is the id of the node that the next one follows.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        recorder: Recorder,
        segment: Segment,
        head: str | None,
        actor: str,
    ) -> None:
        self.committed = -1
        self.free = threading.Event()
        self.free.set()
        self.head = head
        self._database, self._store, self._recorder = database, store, recorder
        self._segment, self._actor = segment, actor
        self._environment = environment.describe()
        self._buffers = Buffers()

    def commit(
        self,
        point: Point,
        kind: str,
        metrics: Mapping[str, float | None],
        changes: tuple[Change, ...] = (),
        answers: Sequence[Answer] = (),
        message: str = "",
    ) -> list[Node]:
        """Copy the state now and have it committed; whatever goes wrong, training goes on.

        Returns a list that holds the node as soon as it is durable.
        """
        made: list[Node] = []
        try:
            # The last state is worth waiting for; any other is not, in the middle of training.
            if not self._recorder.done(self.free, again=kind == "final"):
                why = self._recorder.trouble
                raise StorageError(f"The commit before this one still waits: {why}")
            snapshot = capture.capture(point.live, point.extra(), self._buffers)
        except Exception as error:
            # A state that cannot be captured is no reason to end training.
            self._fail(answers, error, point.step)
            return made
        new = NewNode(
            run_id=self._segment.run_id, branch_id=self._segment.branch_id,
            segment_id=self._segment.id, parent_id=None, step=point.step, epoch=point.epoch,
            kind=kind, state_digest="",
            settings={**point.live.fixed, **apply.read_all(point.live)},
            param_groups=snapshot.param_groups, changes=changes, metrics=dict(metrics),
            message=message, actor=answers[0].request.actor if answers else self._actor,
            environment=self._environment,
        )  # fmt: skip
        self.committed, self.free = point.step, threading.Event()
        self._recorder.do(self._job(snapshot, new, answers, made, self.free))
        return made

    def answer(self, answers: Sequence[Answer], step: int) -> None:
        """Have requests answered that no node comes of."""
        if answers:
            self._recorder.do(lambda: self._answer(answers, step))

    def _job(
        self,
        snapshot: capture.Snapshot,
        new: NewNode,
        answers: Sequence[Answer],
        made: list[Node],
        free: threading.Event,
    ) -> Callable[[], None]:
        digested: list[commits.Digested] = []

        def job() -> None:
            try:
                if not digested:
                    digested.append(commits.digests(snapshot))
                self._write(digested[0], new, answers, made)
            except Exception as error:
                if _of_database(error):
                    # Tried again; till then the snapshot keeps its buffers.
                    raise
                self._fail(answers, error, new.step)
            free.set()

        return job

    def _write(
        self, digested: commits.Digested, new: NewNode, answers: Sequence[Answer], made: list[Node]
    ) -> None:
        carried = [answer for answer in answers if answer.state in ("applied", "done")]
        node = commits.commit(
            self._database, self._store, digested, replace(new, parent_id=self.head), carried,
            self._actor,
        )  # fmt: skip
        self.head = node.id
        made.append(node)
        self._recorder.well("commit")
        self.answer([answer for answer in answers if answer not in carried], new.step)

    def _fail(self, answers: Sequence[Answer], error: Exception, step: int) -> None:
        logger.debug("branchtrack committed no node at step %d", step, exc_info=error)
        self._recorder.report("commit", error)
        for answer in answers:
            if answer.state in ("applied", "done") and answer.request.kind != "evaluate":
                answer.state = "failed"
                answer.error = f"It was applied, but no node was committed: {error}"
        self.answer(answers, step)

    def _answer(self, answers: Sequence[Answer], step: int) -> None:
        with self._database.transaction() as connection:
            for answer in answers:
                commits.tell(connection, answer, self._actor, step=step)


def _of_database(error: Exception) -> bool:
    """Whether it was the database that failed, not the disk of the store."""
    return isinstance(error, SchemaError) or (
        isinstance(error, StorageError) and "path" not in error.facts
    )

"""The session of a rank other than the first: it follows rank 0, and writes no record.

It meets rank 0 where that announced it, and at control points that every rank reaches by itself: a
save that is due, the end. There it carries out what rank 0 says, and takes its part in the node.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from branchtrack import config as configuration
from branchtrack.checkpoints.packs import Store
from branchtrack.core.interventions import SETTING_KINDS
from branchtrack.core.records import Node, Request
from branchtrack.db.engine import Database
from branchtrack.errors import RankLost
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.ranks.gate import Gate
from branchtrack.training.record import logged_values
from branchtrack.training.record.committer import Point
from branchtrack.training.record.jobs import Job, JobQueue
from branchtrack.training.record.ranks.part import PartCommitter
from branchtrack.training.session import rewind
from branchtrack.training.session.base import Base
from branchtrack.training.session.loop_control import LoopControl
from branchtrack.training.session.ranks import messages
from branchtrack.training.session.restoration import Reference
from branchtrack.training.session.signals import Signals
from branchtrack.training.session.updates import Updates
from branchtrack.training.settings import apply, rollback
from branchtrack.training.settings.registry import current
from branchtrack.training.steer import answers
from branchtrack.training.steer.answers import Answer, Expectation
from branchtrack.training.steer.effects import Verdict

logger = logging.getLogger("branchtrack")


#: Seconds after which rank 0 is told that this rank waits for it.
_WAIT_SECONDS = 2.0


class PartRecorder:
    """What a follower has in place of a recorder: a thread for its jobs, and the step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.jobs = JobQueue(self._attempt, lambda: False)
        self.jobs.thread.start()

    def do(self, job: Job) -> None:
        """Queue ``job`` for the thread."""
        self.jobs.add(job)

    def after_nodes(self, job: Job) -> None:
        """Queue ``job``; there are no nodes here to wait for."""
        self.jobs.add(job)

    def _attempt(self, job: Job) -> bool:
        try:
            job()
        except RankLost as error:
            logger.debug("branchtrack: %s", error)
        except Exception:
            # The thread must outlive a defect of ours: training would hang at the next node.
            logger.exception("branchtrack failed on this rank. Training continues.")
        return True


class _NoRewinds:
    """Stands for `rewind.Rewinder`: rank 0 orders the branch to continue in."""

    pending = None

    def order(self, request: Request) -> dict[str, Any]:
        """Do nothing; the loop ends as on rank 0."""
        return {}


class FollowerSession(Updates):
    """A `protocol.TrainingSession` without a record.

    ``base`` is what rank 0 resumes, with this rank's part of the state; ``database`` the name that
    packs are marked with.
    """

    records = True
    recorder: PartRecorder | None
    _committer: PartCommitter | None

    def __init__(
        self, channel: Channel, record: Database, store: Store, base: Base | None, database: str
    ) -> None:
        super().__init__(record, store, base)
        self.signals = Signals(self._note, self._forward, lambda: self.close("stopped"))
        self._channel, self._marked = channel, database
        self._control = LoopControl(_NoRewinds(), lambda *logged: None, lambda *held: None)
        self._gate: Gate | None = None
        self._number = self._logged = 0
        self._restart: dict[str, Any] | None = None
        self._undo: Callable[[], None] | None = None
        self._closed = self._is_over = self._is_final = False
        self._own_branch: str | None = None
        self._unsent: list[tuple[int, dict[str, float]]] = []

    @property
    def is_begun(self) -> bool:
        """Whether `begin` was called."""
        return self.recorder is not None

    @property
    def stop_asked(self) -> bool:
        """Whether the loop should end, as rank 0 said."""
        return self._control.stop_asked

    @property
    def is_called(self) -> bool:
        """Whether the loop should reach a control point at once."""
        recorder, gate = self.recorder, self._gate
        if self._control.stop_asked or recorder is None or gate is None:
            return self._control.stop_asked
        return gate.is_meeting(recorder.step)

    @property
    def rewinds(self) -> bool:
        """Whether training ends here because it continues elsewhere."""
        return self._restart is not None

    def own_branch(self) -> str | None:
        """Return the name of the branch, unless it is the one that its run began with."""
        return self._own_branch

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Wait until rank 0 has taken the segment.

        Raises:
            RankLost: it could not, or has refused this training.
        """
        if self.recorder is None:
            self._channel.post(f"script/{self._channel.rank}", dict(script or {}))
        begun = self._channel.wait("begun", 0)
        self._own_branch = begun["branch"]
        if self.recorder is None:
            self.recorder = recorder = PartRecorder(point.step)
            self._committer = PartCommitter(self._channel, self.store, recorder.jobs, self._marked)
            self._gate = Gate(self._channel, point.step)
            self._channel.open(on_beat=self._send_points)
        if self.base is not None:
            self.expect_restored(self.base, point.live)

    def _reference(self, fork: Node, *, weights_only: bool) -> Reference | None:
        # Rank 0 compares what all ranks have seen.
        return None

    def commit_root(self, point: Point, about: str) -> None:
        """Take part in the node before the first update, as rank 0 makes it."""
        if self.base is None or self.base.mode == "weights":
            self._commit(point, alike=self.base is not None)
            if self.base is None:
                settings, groups = apply.read_all(point.live), apply.read_groups(point.live)
                self.expecting = Expectation(settings, groups, [], None, [])

    def ready(self, point: Point) -> None:
        """Carry out what was scheduled for the step at which this training begins."""
        self.control_point(point, save=False, final=False)

    def advance(self, step: int) -> None:
        """Note that ``step`` updates have been made."""
        assert self.recorder is not None
        self.recorder.step = step

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Do nothing: metrics are rank 0's."""

    def log_each(self, step: int, values: Mapping[str, Any]) -> None:
        """Send values to rank 0, which records a series for each rank."""
        numbers, _ = logged_values.numbers(values)
        rank = self._channel.rank
        self._unsent.append((step, {f"{name}/rank{rank}": n for name, n in numbers.items()}))

    def note_evaluation(self, step: int) -> None:
        """Do nothing: rank 0 notes it."""

    def alert(
        self, step: int, text: object, level: str, metric: str | None, value: float | None
    ) -> None:
        """Do nothing: rank 0 raises it."""

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return whether the ranks meet at this update."""
        assert self.recorder is not None and self._gate is not None
        return save or self._control.stop_asked or self._gate.is_meeting(self.recorder.step)

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Do what rank 0 says until it lets training go on.

        Raises:
            RankLost: rank 0 is gone.
        """
        if self._is_over:
            # Rank 0 has said that training ends, and says nothing more.
            return
        self._is_final = final
        replies: list[Answer] = []
        while True:
            self._number += 1
            message = self._listen(point.step)
            if message["undo"] and self._undo is not None:
                self._undo()
                replies.pop()
            self._undo = None
            apart = self._apart(message["step"], point.step)
            if "do" in message:
                request = messages.request_from_json(message["do"])
                replies.append(self._execute(request, point, apart))
                reply = messages.reply_of(replies[-1])
                self._channel.post(f"reply/{self._number}/{self._channel.rank}", reply)
                continue
            how = message["go"]
            self._go(how, point, replies, apart)
            replies = []
            # A rank that has come to its end waits for the others to come to theirs.
            if not how["held"] and (not apart or how["stop"]):
                return

    def _listen(self, step: int) -> dict[str, Any]:
        """Return what rank 0 says next. Where it does not come at once it is told who waits: a rank
        that has come to an end or a save that the others do not have would wait for ever.
        """
        key, began, is_said = f"waits/{self._channel.rank}", time.monotonic(), False

        def say() -> bool:
            nonlocal is_said
            if not is_said and time.monotonic() - began > _WAIT_SECONDS:
                is_said = True
                self._channel.post(key, step)
            return False

        message: dict[str, Any] = self._channel.wait(f"say/{self._number}", 0, over=say)
        if is_said:
            self._channel.forget(key)
        return message

    def _execute(self, request: Request, point: Point, apart: str) -> Answer:
        """Carry out a request, unless this rank is not where rank 0 is."""
        if apart:
            return Answer(request, "failed", apart)
        if request.kind in SETTING_KINDS:
            self._undo = rollback.keep_state(point.live, current(point.live))
        return self._control.execute(request, point, self.actions, final=False)

    def _apart(self, led: int, step: int) -> str:
        """Return what is wrong if rank 0 is at another update; empty if it is not."""
        rank = self._channel.rank
        return "" if led == step else f"Rank {rank} is at step {step}, and rank 0 at {led}."

    def _go(self, how: Mapping[str, Any], point: Point, replies: list[Answer], apart: str) -> None:
        answers.supersede(replies)
        if how.get("evaluate") and self.evaluates:
            self._control.evaluate_at_end(point, ())
        if how.get("commit") and apart:
            assert self._committer is not None
            self._committer.refuse(apart)
        elif how.get("commit"):
            self._commit(point, alike=bool(how.get("alike")))
        self._is_over = bool(how["stop"])
        # Training that has reached its end by itself was not asked to.
        self._control.stop_asked = self._is_over and not self._is_final
        if self.signals.received:
            self.signals.answer()
        self._restart = how.get("restart")
        settled = [a for a in replies if a.state == "applied" and a.settings]
        if settled:
            expected = {name: v for answer in settled for name, v in answer.settings.items()}
            later = Expectation(expected, apply.read_groups(point.live), settled, None, [])
            self.expecting = answers.merged(self.expecting, later)

    def _commit(self, point: Point, *, alike: bool) -> None:
        assert self._committer is not None
        self._committer.commit(point)
        self.watch([], alike=alike)

    def _seen_by_all(self, step: int, seen: dict[str, Any]) -> dict[str, Any] | None:
        self._channel.post(f"seen/{step}/{self._channel.rank}", seen)
        return seen

    def _record_proof(self, *facts: Any) -> None:
        """Do nothing: rank 0 records what all have seen."""

    def _record_effect(
        self, expected: Expectation, verdicts: list[Verdict], effective: dict[str, Any]
    ) -> None:
        said = {
            "verdicts": {v.answer.request.id: [v.state, v.effective, v.error] for v in verdicts},
            "obeyed": effective["obeyed"],
        }
        self._channel.post(f"effect/{effective['step']}/{self._channel.rank}", said)

    def when_durable(self, job: Callable[[str], None]) -> None:
        """Do nothing: rank 0 does it."""

    def ignored(self) -> None:
        """Do nothing: rank 0 says it."""

    def close(self, status: str, error: str | None = None) -> None:
        """End this rank's part: what rank 0 still needs of it is done first."""
        if self._closed:
            return
        self._closed = True
        if self.witness is not None:
            self.witness.detach()
        self.signals.answer()
        try:
            if status == "failed":
                self._channel.leave(error or status, failed=True)
            else:
                self._send_points()
                self._channel.post(f"ended/{self._channel.rank}", status)
            if self.recorder is not None:
                self.recorder.jobs.close()
        finally:
            self._channel.leave()
            self.signals.off()
            self._database.close()
        if self._restart is not None and status != "failed":
            os.environ.update(self._restart["group"])
            order = self._restart
            ids = order["launch"], order["request"]
            rewind.exec_process(order["entry_point"], configuration.load(), *ids)

    def _send_points(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._logged += 1
            self._channel.post(f"points/{self._channel.rank}/{self._logged}", unsent)

    def _note(self) -> int:
        return self.recorder.step if self.recorder is not None else 0

    def _forward(self) -> None:
        """Tell rank 0 of a signal that this rank received: it calls all to a meeting."""
        received = self.signals.received
        name = signal.Signals(received).name if received is not None else "a signal"
        self._channel.post(f"signal/{self._channel.rank}", name)

"""A training process's part in a run: its segment, its control points, its nodes.

Serves any PyTorch loop; a loop passes live objects and calls it between updates. The training
thread only tests flags, applies and copies; all I/O is the recorder's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from branchtrack import config as configuration
from branchtrack.checkpoints.packs import Store
from branchtrack.core import lifecycle
from branchtrack.core.records import Node, Request
from branchtrack.db.engine import Database
from branchtrack.errors import StorageError
from branchtrack.training.record import code, environment, intervals, logged_values
from branchtrack.training.record.committer import Committer, Point
from branchtrack.training.record.health import HealthRecord
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.record.shards import ShardRecord
from branchtrack.training.record.system_load import SystemLoad
from branchtrack.training.session import registration
from branchtrack.training.session.base import Base
from branchtrack.training.session.beginnings import Beginning
from branchtrack.training.session.loop_control import LoopControl
from branchtrack.training.session.ranks.lead import Lead
from branchtrack.training.session.ranks.leading import Leading
from branchtrack.training.session.rewind import Rewinder
from branchtrack.training.session.segment_record import SegmentRecord
from branchtrack.training.session.signals import Signals
from branchtrack.training.session.stop import Stop
from branchtrack.training.session.updates import Updates
from branchtrack.training.settings import apply
from branchtrack.training.steer import answers, execution
from branchtrack.training.steer.answers import Answer, Expectation

logger = logging.getLogger("branchtrack")


class Session(Updates):
    """One segment, from opening the database to the last record; a `protocol.TrainingSession`.

    ``prepare`` opens the home of a new run, again if it could not be opened. With a ``lead`` it is
    rank 0 of several processes, which follow it.
    """

    records = True
    recorder: Recorder | None
    _committer: Committer | None

    def __init__(
        self,
        database: Database,
        store: Store,
        base: Base | None,
        beginning: Beginning | None = None,
        started_by: tuple[str, str | None] | None = None,
        lead: Lead | None = None,
    ) -> None:
        super().__init__(database, store, base)
        self._lead = self._ranks = None if lead is None else Leading(lead, self)
        self.signals = Signals(self._note, self._interrupt, lambda: self.close("stopped"))
        self.prepare: Callable[[], None] = lambda: None
        self._is_signal_recorded = False
        self._surroundings = environment.surroundings()
        self._beginning = beginning or Beginning()
        self._record: SegmentRecord | None = None
        self._health: HealthRecord | None = None
        self._load: SystemLoad | None = None
        self._shards: ShardRecord | None = None
        self._metrics: dict[str, float | None] = dict(base.fork.metrics) if base else {}
        self._refusals = logged_values.Refusals()
        self._stop = Stop(base.stop_at if base else None)
        self._rewinder = Rewinder(database, store, self.actor, started_by)
        self._control = LoopControl(
            self._rewinder, self._log_evaluation, lambda *held: self._segment_record.hold(*held)
        )

    @property
    def is_begun(self) -> bool:
        """Whether `begin` has taken the segment."""
        return self.recorder is not None

    @property
    def stop_asked(self) -> bool:
        """Whether the loop should end, because of a request or a signal."""
        return self._control.stop_asked

    @property
    def is_called(self) -> bool:
        """Whether the loop should reach a control point at once."""
        recorder = self.recorder
        if recorder is not None and self._lead is not None:
            return self._lead.is_due(recorder.step, save=False)
        return self._control.stop_asked or (
            recorder is not None
            and (
                self._stop.is_reached(recorder.step)
                or recorder.inbox.is_reached(recorder.step, self._metrics)
            )
        )

    @property
    def stop_step(self) -> int | None:
        """The step at which this process was to stop; None for nowhere, or once it has."""
        return self._stop.step

    @property
    def rewinds(self) -> bool:
        """Whether training ends here because it continues elsewhere."""
        return self._rewinder.pending is not None

    @property
    def committer(self) -> Committer:
        """The committer of this segment's nodes, once it has begun."""
        assert self._committer is not None
        return self._committer

    @property
    def _segment_record(self) -> SegmentRecord:
        assert self._record is not None
        return self._record

    def order_of_restart(self) -> dict[str, Any] | None:
        """Return what other ranks need to restart with this one; None if it does not."""
        return None if self.signals.received else self._rewinder.order_of_restart()

    def own_branch(self) -> str | None:
        """Return the name of the branch, unless it is the one that its run began with."""
        return self._beginning.own_branch

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
            if self._lead is not None:
                self._lead.check_alike(script)
            self._take_segment(point, settings, max_steps, script)
        assert self.recorder is not None and self._shards is not None
        self._shards.store(point.live.data)
        self._report_settings(point)
        if self.base is not None:
            self.committer.committed = point.step
            self.expect_restored(self.base, point.live)
        if self._rewinder.answers:
            self.recorder.do(self._rewinder.record_begin)

    def _take_segment(
        self,
        point: Point,
        settings: dict[str, Any],
        max_steps: int | None,
        script: Mapping[str, Any] | None,
    ) -> None:
        facts = registration.facts_of(point.live, self.actions, evaluates=self.evaluates)
        facts |= {
            "settings": settings,
            "max_steps": self._stop.before(max_steps),
            "script": None if script is None else dict(script),
            "environment": self._surroundings,
        }
        beginning = self._beginning
        segment, self.recorder = registration.take_with_replay(
            self._database,
            beginning,
            point.step,
            fork=self.base.fork if self.base else None,
            actor=self.actor,
            prepare=self.prepare,
            facts=facts,
        )
        self.recorder.look()
        self._record = SegmentRecord(
            self._database, segment, self.recorder, self.actor, self._surroundings
        )
        self._record.record_code(code.begin(os.getpid()))
        self._watch(segment.id, self.recorder)
        self._shards = ShardRecord(self._database, self.recorder)
        self._shards.watch(point.live.data, segment.id)
        if self.base is not None and beginning.fork is not None:
            self.base = replace(self.base, fork=beginning.fork)
        if beginning.launch is not None:
            self._rewinder.carries_out(beginning.launch.id)
        if self.signals.received:
            self._interrupt()
        head = self.base.fork.id if self.base else None
        parts = self._database, self.store, self.recorder, segment, head, self.actor
        lead = self._lead
        self._committer = Committer(*parts) if lead is None else lead.begin(point.step, *parts)

    def ready(self, point: Point) -> None:
        """Carry out what was scheduled for the step at which this training begins, before it."""
        recorder = self.recorder
        if recorder is None:
            return
        if recorder.inbox.next_step <= point.step:
            # What the node's own continuation was is no measure for the first update any more.
            self.reference = None
        elif self._lead is None:
            return
        self.control_point(point, save=False, final=False)

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

    def advance(self, step: int) -> None:
        """Note that ``step`` updates have been made, for the next heartbeat."""
        assert self.recorder is not None
        self.recorder.step = step

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step; non-numbers are named once, here and in the record."""
        numbers, refused = logged_values.numbers(values)
        self._metrics.update(numbers)
        self._stop.note(step, numbers)
        if self.recorder is None:
            return
        self.recorder.log(step, numbers)
        self.recorder.inbox.renew()
        fresh = self._refusals.fresh(refused)
        if fresh:
            words = "; ".join(f"{name}: {why}" for name, why in fresh.items())
            logger.warning("branchtrack does not record values that are not numbers: %s", words)
            self.recorder.append_event(
                "metric", "not recorded", self.actor, step, payload={"names": dict(fresh)}
            )

    def log_each(self, step: int, values: Mapping[str, Any]) -> None:
        """Record metrics at a step, of each process as a series of its own."""
        self.log(step, {f"{name}/rank0": value for name, value in values.items()})

    def _log_evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        self.log(step, values)
        self.note_evaluation(step)

    def note_evaluation(self, step: int) -> None:
        """Note that the loop itself has just evaluated, and logged what came of it."""
        self._stop.evaluated_at = step

    def alert(
        self, step: int, text: object, level: str, metric: str | None, value: float | None
    ) -> None:
        """Record what the script wants people to know; returns at once."""
        if self._health is not None:
            self._health.say(step, text, level, metric, value)

    def _watch(self, segment_id: str, recorder: Recorder) -> None:
        """Have the points of the segment looked at, and notice if it stands still."""
        self._health = HealthRecord(
            self._database, segment_id, recorder, self.actor, lambda: self._control.is_paused
        )
        recorder.written, recorder.beating = self._health.take, self._health.beat
        self._load = SystemLoad(lambda: recorder.step, recorder.log)

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return whether anything is to be done at a control point: a few tests of flags."""
        recorder = self.recorder
        assert recorder is not None
        if self._lead is not None:
            return self._lead.is_due(recorder.step, save=save)
        inbox = recorder.inbox
        if inbox.waiting or save or self._control.stop_asked:
            return True
        if self._stop.is_reached(recorder.step):
            return True
        if not inbox.awaits:
            return False
        if epoch_over and "epoch" in inbox.awaits:
            return True
        return inbox.is_reached(recorder.step, self._metrics)

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
        inbox = self.recorder.inbox
        while self._control.is_held(point.step) and not (self.stop_asked or final):
            came = inbox.wait(intervals.PAUSE_SECONDS)
            if came or inbox.is_reached(point.step, self._metrics):
                self._answer(point, (), save=False, final=False)
        if self._lead is not None:
            self._lead.end_meeting(point.step)

    def _answer(self, point: Point, reached: Sequence[str], *, save: bool, final: bool) -> None:
        """Answer what waits at this moment."""
        assert self.recorder is not None
        pending = self.recorder.inbox.take(reached, point.step, self._metrics)
        if self.signals.received:
            self.signals.answer()
            # Training that has reached its end is not cut short by it.
            self._control.stop_asked = self.stop_asked or not final
        elif self._lead is not None and self._lead.is_ended_elsewhere:
            self._control.stop_asked = self.stop_asked or not final
        saves = self.committer.saves
        if save:
            saves.ask(point.step)
        is_stop = self._stop.is_reached(point.step)
        replies = [self._execute(request, point, final or is_stop) for request in pending]
        answers.supersede(replies)
        if self._shards is not None:
            self._shards.store(point.live.data)
        changes = (*answers.changes(replies), *execution.remarks(replies))
        ends = final or self.stop_asked or is_stop
        is_new = self.committer.committed != point.step
        wants_node = any(reply.makes_node for reply in replies)
        commits = bool(changes or wants_node or ((saves.owed is not None or ends) and is_new))
        if self._lead is not None:
            self._lead.go(
                point.step,
                ends=ends,
                evaluates=is_stop and self._evaluates_at_stop(point.step),
                commits=commits,
                held=self._control.is_held(point.step) and not ends,
                alike=not changes,
            )
        words = self._make_stop(point, final=final) if is_stop else ""
        is_last = ends and not self._control.suspends
        kind = "final" if is_last else "intervention" if changes else "checkpoint"
        durable_nodes: list[Node] = []
        if commits:
            elsewhere = "" if self._lead is None else self._lead.signal_words
            said = answers.message(replies), words, self.signals.words or elsewhere
            message = "; ".join(text for text in said if text)
            durable_nodes = self.committer.commit(
                point, kind, self._metrics, changes, replies, message
            )
            self.watch(durable_nodes, alike=not changes)
        else:
            self.committer.answer(replies, point.step)
            if not is_new:
                saves.make(saves.take())
        if replies:
            self._report_settings(point)
        self._expect(replies, point, durable_nodes)

    def _make_stop(self, point: Point, *, final: bool) -> str:
        """End training here, evaluated first if it can be; return what is said of it."""
        if self._evaluates_at_stop(point.step):
            self._control.evaluate_at_end(point, self._stop.logged(point.step))
        self._stop.step = None
        # Training that has reached its end is not cut short by it.
        self._control.stop_asked = self.stop_asked or not final
        return f"Stopped at step {point.step}, as this resume was to (stop_at)."

    def _evaluates_at_stop(self, step: int) -> bool:
        # After a signal there is no time for it.
        is_free = self.evaluates and not self.signals.received
        return is_free and self._stop.lacks_evaluation(step)

    def _execute(self, request: Request, point: Point, final: bool) -> Answer:
        """Execute a request, on every rank if there are several."""

        def run(asked: Request) -> Answer:
            return self._control.execute(asked, point, self.actions, final=final)

        return run(request) if self._lead is None else self._lead.execute(request, point, run)

    def _expect(self, replies: Sequence[Answer], point: Point, durable_nodes: list[Node]) -> None:
        """Expect of the next update the settings that were changed.

        While no update has shown the effect of an earlier change (training is held, or the
        optimizer skips updates), expectations of the next one add up.
        """
        settled = [a for a in replies if a.state == "applied" and a.settings]
        if not settled:
            return
        expected = {name: v for answer in settled for name, v in answer.settings.items()}
        later = Expectation(expected, apply.read_groups(point.live), settled, None, durable_nodes)
        before = self.expecting.answers if self.expecting else []
        self.expecting = answers.merged(self.expecting, later)
        reverted = [answer for answer in before if answer.state == "superseded"]
        self._segment_record.supersede(reverted, point.step)

    def when_durable(self, job: Callable[[str], None]) -> None:
        """Call ``job`` with the newest node's id, from the recorder's thread, after its commit."""
        assert self.recorder is not None

        def call() -> None:
            head = self.committer.head
            if head is not None:
                job(head)

        self.recorder.after_nodes(call)

    def _report_settings(self, point: Point) -> None:
        """Write the current settings with the next heartbeat."""
        assert self.recorder is not None
        settings = self.recorder.settings = apply.read_all(point.live, details=True)
        last = settings.get("max_steps", point.live.fixed.get("max_steps"))
        self.recorder.max_steps = self._stop.before(last)

    def ignored(self) -> None:
        """Answer that the loop continues although it was asked to stop."""
        why = "The loop continues: it does not end where `run.step()` is true. It is not recorded."
        logger.warning("branchtrack: %s", why)
        self._segment_record.fail_stops(why)

    def close(self, status: str, error: str | None = None) -> None:
        """Write what is left and end the segment as ``finished``, ``stopped`` or ``failed``.

        Raises:
            StorageError: it could not be recorded whole, with ``BRANCHTRACK_REQUIRE=1``.
        """
        if self.witness is not None:
            self.witness.detach()
        if self._lead is not None:
            status, error = self._lead.closing(status, error)
        if self._shards is not None:
            self._shards.close()
        if self._load is not None:
            self._load.close()
        self.signals.answer()
        status, error = self.signals.ending(status, error)
        recorder, lost = self.recorder, []
        try:
            if recorder is not None:
                self.committer.saves.drop("Training ended before it could be made.")
                lost = recorder.close(lambda: self._end(status, error))
        except (KeyboardInterrupt, SystemExit):
            # A second signal: nothing is waited for any more.
            why = f"{self.signals.words}, and another broke off what was being written"
            if recorder is not None:
                recorder.close(lambda: self._end("stopped", why))
            raise
        finally:
            self.signals.off()
        if self._health is not None:
            self._health.close()
        if self._lead is not None:
            self._lead.leave(failed=status == "failed")
        self._rewinder.record_end(status, error)
        if self.rewinds and self.signals.received:
            self._rewinder.give_up(self.signals.words)
        elif self.rewinds:
            self._rewinder.restart()
        self._database.close()
        if lost and status != "failed" and configuration.is_required():
            raise StorageError(f"Not everything could be recorded: {'; '.join(lost)}")

    def _end(self, status: str, error: str | None) -> None:
        """Record the end of the segment; the recorder's last job."""
        if self._health is not None:
            self._health.write()
        with self._database.transaction() as connection:
            if status != "failed":
                self._segment_record.end_stops(connection, "done")
                status, error = self.committer.ending(status, error)
                if self._control.suspends and status == "stopped":
                    status = lifecycle.SUSPENDED
            self._segment_record.end(connection, status, error, spare=self._rewinder.request_id)
        if status == "failed" and self._health is not None:
            self._health.crash(error)

    def _note(self) -> int:
        """Note a signal without any lock; return the step."""
        if self.recorder is None:
            return self.base.fork.step if self.base else 0
        self.recorder.inbox.note()
        return self.recorder.step

    def _interrupt(self) -> None:
        """After a signal was noted, make sure that the loop comes, and record it at once."""
        recorder = self.recorder
        if recorder is not None and not self._is_signal_recorded:
            self._is_signal_recorded = True
            recorder.inbox.interrupt()
            words = self.signals.words
            recorder.append_event("signal", "received", self.actor, recorder.step, why=words)

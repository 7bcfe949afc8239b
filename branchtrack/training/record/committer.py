"""The nodes of one segment: the state is copied at once, written in the background.

The training thread pays only for the copy. One commit is in flight at a time, whose snapshot keeps
its buffers until it is durable or given up; memory: one copy of the state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from branchtrack import processes
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.control import leftovers
from branchtrack.control.store import checkpoints, spooled
from branchtrack.core.records import Change, NewNode, Node, Segment
from branchtrack.db.engine import Database
from branchtrack.errors import RankLost, SchemaError, StorageError
from branchtrack.training.record import commits, environment, intervals
from branchtrack.training.record.pending_changes import PendingChanges
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.record.remote.spooling import Spooling, Waiting
from branchtrack.training.record.saves import Saves
from branchtrack.training.record.watches import StoreWatch
from branchtrack.training.settings import apply
from branchtrack.training.settings.apply import Live
from branchtrack.training.state import snapshots
from branchtrack.training.state.buffers import Buffers, Forms
from branchtrack.training.steer.answers import Answer

logger = logging.getLogger("branchtrack")

#: Series that record, at the step of each commit, the milliseconds that it delayed training: for
#: the copy of the state, and before it for the previous commit.
COPY_MS = "stall/copy_ms"
WAIT_MS = "stall/wait_ms"
#: States of answers that are recorded with the node.
_CARRIED = ("applied", "done", "superseded")


@dataclass(frozen=True)
class Point:
    """A control point: where the loop is, and what can be requested there.

    ``extra`` returns the loop's own state; ``evaluate`` its metrics, without disturbing training.
    """

    live: Live
    step: int
    epoch: float
    extra: Callable[[], dict[str, Any]]
    evaluate: Callable[[], dict[str, float]]


@dataclass
class Flight:
    """A commit being written; ``digested`` and ``pack`` are kept for a retry.

    ``due`` is the step of the save that it makes, ``failing`` the time since when the store has
    failed it, and ``unwanted`` says that a newer state waits for its buffers. ``number`` counts
    the commits that were begun; ``joint`` and ``attempts`` are of several of several ranks.
    """

    snapshot: snapshots.Snapshot
    writings: dict[str, int]
    new: NewNode
    answers: Sequence[Answer]
    nodes: list[Node]
    done: threading.Event = field(default_factory=threading.Event)
    digested: commits.Digested | None = None
    stored: bool = False
    pack: Pack | None = None
    due: int | None = None
    failing: float | None = None
    unwanted: bool = False
    number: int = 0
    joint: Any = None
    attempts: int = 0


class Committer:
    """Creates nodes from snapshots, and answers requests with or without a node.

    ``committed`` is the step of the newest snapshot, -1 before the first; ``free`` is set while
    nothing uses the buffers that snapshots are copied into; ``head`` is the id of the node that
    the next one follows; ``saves`` counts those that were due; ``lost`` says why the newest state
    is not in the store, and ``fails`` whether a training that ends so has failed: a state that
    cannot be captured leaves it finished.
    """

    #: Whether commits for a bucket wait for their upload on this machine.
    spools = True

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
        self.saves = Saves(self._tell_missed)
        self.lost: str | None = None
        self.fails = False
        self.number = 0
        self._newest = -1
        recorder.saves = self.saves.as_dict
        self._flight: Flight | None = None
        self._database, self._store, self._recorder = database, store, recorder
        self._segment, self._actor = segment, actor
        self._environment = environment.describe()
        self._buffers, self._prepared = Buffers(), False
        self._known: dict[tuple[str, int], str] = {}
        self._pending_changes = PendingChanges()
        self._owner = leftovers.pack_owner(database, store, processes.own_name())
        self._watch = StoreWatch(store)
        self._spooling: Spooling | None = None
        if store.copies is None:
            recorder.check_store = self._watch.check
        elif self.spools:
            self._spooling = Spooling(database, store, self._owner)
            recorder.begin_uploads()
            recorder.waiting, recorder.ended = lambda: self._waiting, self._spooling.close
        recorder.after_nodes(self._clear)

    def prepare(self, live: Live) -> None:
        """Allocate the memory of snapshots in the background, once, after the first update.

        Earlier, optimizers have no state yet; later, the next commit would have to do it itself,
        and an allocation of memory takes ten times as long as a copy into it.
        """
        if self._prepared:
            return
        self._prepared = True
        forms = Forms()
        try:
            snapshots.capture(live, {}, forms)
        except Exception:
            # The next commit hits the same error, and reports it.
            return
        done = self.free = threading.Event()

        def job() -> None:
            try:
                self._buffers.reserve(forms.found)
            finally:
                done.set()
                self._call_for_owed()

        self._recorder.do(job)

    def commit(
        self,
        point: Point,
        kind: str,
        metrics: Mapping[str, float | None],
        changes: tuple[Change, ...] = (),
        answers: Sequence[Answer] = (),
        message: str = "",
    ) -> list[Node]:
        """Copy the state now and commit it in the background; no failure stops training.

        Changes whose own commit failed are carried over to this one.

        Returns a list that will hold the node as soon as it is durable.
        """
        durable_nodes: list[Node] = []
        self._newest = point.step
        try:
            # Only the last state is worth waiting for; others must not hold up training.
            self._wait(point.step, patiently=kind == "final")
        except StorageError as error:
            # A save that is due stays owed until the buffers are free.
            self.saves.put_off(str(error))
            self._call_for_owed()
            self._pending_changes.add(point.step, changes)
            self._fail(answers, error, point.step)
            return durable_nodes
        due = self.saves.take()
        try:
            started = time.perf_counter()
            snapshot = snapshots.capture(point.live, point.extra(), self._buffers)
            new = self._node(point, kind, metrics, snapshot, message, answers)
            self._measure(COPY_MS, point.step, time.perf_counter() - started)
        except Exception as error:
            # A state that cannot be captured is no reason to end training.
            self._pending_changes.add(point.step, changes)
            self.saves.miss(due, str(error))
            self._fail(answers, error, point.step)
            return durable_nodes
        new = self._pending_changes.merge_into(replace(new, changes=changes))
        flight = Flight(snapshot, self._buffers.writings, new, answers, durable_nodes, due=due)
        flight.number = self.number
        self.committed, self.free, self._flight = point.step, flight.done, flight
        self._recorder.do(lambda: self._carry_out(flight))
        return durable_nodes

    def ending(self, status: str, error: str | None) -> tuple[str, str | None]:
        """Return status and error of a segment that trained normally, given its last state."""
        if self.lost is not None:
            words = f"The final state of the training could not be written: {self.lost}"
        elif self._waiting:
            words = spooled.end_words(status, self._waiting)
        else:
            return status, error
        fails = self.fails or self.lost is None
        return "failed" if fails else status, "; ".join(filter(None, (error, words)))

    @property
    def _waiting(self) -> str:
        return "" if self._spooling is None else self._spooling.words

    def answer(self, answers: Sequence[Answer], step: int) -> None:
        """Answer requests that lead to no node."""
        if answers:
            self._recorder.do(lambda: self._answer(answers, step))

    def _wait(self, step: int, *, patiently: bool) -> None:
        """Wait until the buffers are free.

        Raises:
            StorageError: they will not become free in time.
        """
        started = time.perf_counter()
        is_free, flight = self._recorder.jobs.wait_for(self.free), self._flight
        if not is_free and flight is not None and flight.failing is not None:
            # A write that the store refuses is tried once more; then the newer state goes first.
            flight.unwanted = True
            is_free = self._recorder.jobs.wait_for(self.free, retry=True)
        if not is_free and patiently:
            is_free = self._recorder.jobs.wait_for_last(self.free)
        self._measure(WAIT_MS, step, time.perf_counter() - started)
        if not is_free:
            why = self._recorder.hindrance or (
                f"the database has not answered for {intervals.PATIENCE_SECONDS:g} seconds."
            )
            raise StorageError(f"The commit before this one still waits: {why}")

    def _measure(self, series: str, step: int, seconds: float) -> None:
        logger.debug("branchtrack %s %.1f at step %d", series, 1e3 * seconds, step)
        self._recorder.log(step, {series: 1e3 * seconds})

    def _node(
        self,
        point: Point,
        kind: str,
        metrics: Mapping[str, float | None],
        snapshot: snapshots.Snapshot,
        message: str,
        answers: Sequence[Answer],
    ) -> NewNode:
        return NewNode(
            run_id=self._segment.run_id,
            branch_id=self._segment.branch_id,
            segment_id=self._segment.id,
            parent_id=None,
            step=point.step,
            epoch=point.epoch,
            kind=kind,
            state_digest="",
            settings={**point.live.fixed, **apply.read_all(point.live)},
            param_groups=snapshot.param_groups,
            metrics=dict(metrics),
            message=message,
            actor=answers[0].request.actor if answers else self._actor,
            environment=self._environment,
        )

    def _carry_out(self, flight: Flight) -> None:
        """Run the job of a commit; if it raises, it is tried again and keeps its buffers."""
        try:
            with self._recorder.jobs.off_database():
                if flight.digested is None:
                    flight.digested = self._digest(flight)
            if self._spooling is not None:
                self._keep(self._spooling, flight, flight.digested)
            else:
                self._write(flight, flight.digested)
                self.saves.make(flight.due)
            self._pending_changes.clear()
        except Exception as error:
            if self._is_worth_another_try(flight, error):
                raise
            self._give_up(flight, error)
        flight.done.set()
        self._call_for_owed()

    def _keep(self, spooling: Spooling, flight: Flight, digested: commits.Digested) -> None:
        """Make a commit durable on this machine; it is uploaded and recorded after those before."""
        waiting = spooling.keep(
            digested,
            replace(flight.new, parent_id=self.head),
            [answer for answer in flight.answers if answer.state in _CARRIED],
            self._actor,
            self.saves.as_dict(flight.due),
        )
        flight.digested, flight.stored, flight.pack = waiting.digested, False, None
        self._recorder.begin_uploads().queue.add(lambda: self._upload(spooling, flight, waiting))

    def _upload(self, spooling: Spooling, flight: Flight, waiting: Waiting) -> None:
        """Run the job that uploads and records a commit; what the network fails is tried again."""
        try:
            self._write(flight, waiting.digested)
            self.saves.make(flight.due)
        except (StorageError, SchemaError):
            raise
        except Exception as error:
            self._give_up(flight, error)
        spooling.settle(waiting, flight.pack, recorded=bool(flight.nodes))

    def _give_up(self, flight: Flight, error: Exception) -> None:
        self._pending_changes.add(flight.new.step, flight.new.changes)
        self.saves.miss(flight.due, str(error))
        self._fail(flight.answers, error, flight.new.step)
        if self.committed == flight.new.step:
            # The node does not exist: another control point at this step creates one.
            self.committed = -1

    def _clear(self) -> None:
        """Run the job that removes what killed processes left; its errors would recur elsewhere."""
        with suppress(StorageError, SchemaError):
            for removed in (
                spooled.finish(self._database, self._store),
                leftovers.clear(self._database, self._store),
            ):
                if removed:
                    logger.warning("branchtrack: %s", removed)

    def _call_for_owed(self) -> None:
        """Make the loop reach a control point where it can make a save that is owed."""
        if self.saves.waits and self.free.is_set():
            self._recorder.inbox.interrupt()

    def _is_worth_another_try(self, flight: Flight, error: Exception) -> bool:
        """Return whether a commit that failed keeps its buffers and is tried again.

        It waits for the database, however long. It also waits for the disk of the store until a
        newer state needs the buffers; but nothing that others wait for is delayed for long.
        """
        if _of_database(error):
            return not self._recorder.jobs.is_over
        if not isinstance(error, StorageError) or self._recorder.jobs.is_over:
            return False
        flight.failing = flight.failing or time.monotonic()
        if flight.unwanted:
            return False
        is_long = time.monotonic() - flight.failing > intervals.PATIENCE_SECONDS
        return not (is_long and self._recorder.jobs.is_behind)

    def _digest(self, flight: Flight) -> commits.Digested:
        digested = commits.digests(flight.snapshot, flight.writings, self._known)
        self._known = {
            (entry.name, flight.writings[entry.name]): entry.digest for entry in digested[0].entries
        }
        return digested

    def _write(self, flight: Flight, digested: commits.Digested) -> None:
        while True:
            try:
                return self._try_to_write(flight, digested)
            except checkpoints.Outdated:
                # A sweep has removed tensors since they were looked up: they are written again.
                if flight.pack is not None:
                    self._store.discard(flight.pack.id)
                flight.pack, flight.stored = None, False

    def _try_to_write(self, flight: Flight, digested: commits.Digested) -> None:
        pack = flight.pack
        if pack is not None and not self._store.exists(pack.id):
            # The pack has been removed since: the database may have been away for long.
            flight.stored = False
        if not flight.stored:
            fresh = commits.missing(self._database, self._store, digested)
            if self._spooling is not None:
                self._spooling.check(fresh)
            with self._recorder.off_database():
                flight.pack = self._store.put(fresh, self._owner) if fresh else None
            flight.stored = True
        self._record(flight, digested)

    def _record(
        self, flight: Flight, digested: commits.Digested, others: Sequence[Pack] = ()
    ) -> None:
        """Add the node of a flight whose tensors are stored, ``others`` in packs of other ranks."""
        carried = [answer for answer in flight.answers if answer.state in _CARRIED]
        node, is_named = commits.record(
            self._database,
            self._store,
            digested,
            flight.pack,
            replace(flight.new, parent_id=self.head),
            carried,
            self._actor,
            self.saves.as_dict(flight.due),
            others,
        )
        if flight.pack is not None and is_named:
            self._watch.newest = flight.pack.id
        elif flight.pack is not None:
            self._store.discard(flight.pack.id)
        self.head = node.id
        flight.nodes.append(node)
        self._recorder.clear("commit")
        if flight.new.step >= self._newest:
            self.lost = None
        self.answer(
            [remaining for remaining in flight.answers if remaining not in carried], flight.new.step
        )

    def _fail(self, answers: Sequence[Answer], error: Exception, step: int) -> None:
        logger.debug("branchtrack committed no node at step %d", step, exc_info=error)
        self._recorder.report("commit", error)
        self.lost = str(error)
        self.fails = isinstance(error, StorageError | SchemaError | RankLost)
        for answer in answers:
            if answer.state in ("applied", "done") and answer.makes_node:
                answer.state = "failed"
                answer.error = f"It was applied, but no node was committed: {error}"
        self.answer(answers, step)

    def _tell_missed(self, step: int, why: str) -> None:
        self._recorder.append_event("save", "missed", self._actor, step, why=why)

    def _answer(self, answers: Sequence[Answer], step: int) -> None:
        with self._database.transaction() as connection:
            for answer in answers:
                commits.move_request(connection, answer, self._actor, step=step)


def _of_database(error: Exception) -> bool:
    """Return whether the database failed, not the disk of the store."""
    return isinstance(error, SchemaError) or (
        isinstance(error, StorageError) and "path" not in error.facts
    )

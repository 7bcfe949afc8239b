"""The threads that do all of a training process's I/O, so that none of it can hurt training.

One looks for requests (at once when the database tells of them), flushes metrics and writes a
heartbeat (how often: see `intervals`). The other carries out jobs in order, however long they take:
a large commit must not look as if the process had died. Before each job the points logged so far
are written: a node is never visible before its curve. An outage is logged once, pending records are
kept and tried again, the end waits for them, and what could not be written is reported then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from branchtrack import control
from branchtrack.db import audit, metrics, requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import HomeError, SchemaError, StorageError
from branchtrack.training.pace import Pace
from branchtrack.training.record import intervals, outages
from branchtrack.training.record.inbox import Inbox
from branchtrack.training.record.jobs import Job, JobQueue
from branchtrack.training.record.outages import Outages, cut
from branchtrack.training.record.points import LoggedPoint, Points
from branchtrack.training.record.remote.uploads import Uploads
from branchtrack.training.record.watches import ChangeWatch, FileWatch

logger = logging.getLogger("branchtrack")


class Recorder:
    """Buffers what a segment's training thread records, and writes it from its own threads.

    The next heartbeat writes ``step``, ``settings`` and ``max_steps``; the training thread assigns
    them, and ``saves``, which returns the counts of `saves.Saves`, and ``check_store``, which
    raises if the store is gone. ``waiting`` says what waits for a bucket, and ``ended`` is called
    when nothing more is recorded. ``inbox`` has the requests to the segment, ``jobs`` what is to be
    written in order. ``written`` is called with points that were written, and ``beating`` about
    once a second; neither may raise.

    ``create`` creates the segment; until that has succeeded (``created``) nothing else is written.

    Locking: one lock keeps what was polled in order. What both threads use besides are its parts,
    which have theirs; the other attributes are assigned whole by one thread and read by others.
    """

    def __init__(
        self, database: Database, segment_id: str, step: int, create: Job | None = None
    ) -> None:
        self.step = step
        self.settings: dict[str, Any] = {}
        self.max_steps: int | None = None
        self.saves: Callable[[], dict[str, Any] | None] = lambda: None
        self.check_store: Job = lambda: None
        self.written: Callable[[Sequence[LoggedPoint]], None] = lambda points: None
        self.beating: Job = lambda: None
        self.waiting: Callable[[], str] = str
        self.ended: Job = lambda: None
        self.uploads: Uploads | None = None
        self.created = threading.Event()
        self.inbox, self._polling = Inbox(), threading.Lock()
        self._database, self._segment = database, segment_id
        self._points, self._series = Points(self._write_points), metrics.Known()
        self._outages = Outages(partial(outages.append_events, database, segment_id))
        self.jobs = JobQueue(self._attempt_job, lambda: "record" in self._outages)
        self._defects: dict[str, str] = {}
        self._beat = time.monotonic()
        self._pace = Pace(self._beat, step)
        self._file, self._changes = FileWatch(database), ChangeWatch(database, segment_id)
        self._poll_seconds = (
            intervals.SQLITE_POLL_SECONDS if database.is_sqlite else intervals.POLL_SECONDS
        )
        self._flush_seconds = (
            intervals.FLUSH_SECONDS if database.is_sqlite else intervals.SERVER_FLUSH_SECONDS
        )
        self._stopped = threading.Event()
        self._pulse = threading.Thread(target=self._beat_on, name="branchtrack pulse", daemon=True)
        if create is None:
            self.created.set()
        else:
            self.jobs.add(lambda: self._create(create))
        self.jobs.thread.start()
        self._pulse.start()

    @property
    def lost(self) -> list[str]:
        """What has not been written, in words; at the end that is what is lost."""
        lost = self._outages.lines + [f"{what}: {why}" for what, why in self._defects.items()]
        if len(self._points):
            lost.append(f"{len(self._points)} metric points were not written")
        if len(self.jobs):
            lost.append(f"{len(self.jobs)} records were not written")
        if self.uploads is not None and len(self.uploads):
            lost.append(self.waiting() or f"{len(self.uploads)} records were not written")
        return lost if self.created.is_set() else ["the run itself was never recorded", *lost]

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, or an empty text."""
        return str(self._outages)

    @property
    def hindrance(self) -> str:
        """Why jobs cannot be done at present, or an empty text."""
        return self._outages.why("record")

    def look(self) -> None:
        """Put the requests that the segment has by now into the inbox, before training begins."""
        if self.created.is_set():
            self._attempt("requests", self._receive)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Buffer one value each of some metrics at a step. Never blocks, never raises."""
        self._points.log(step, values)

    def do(self, job: Job) -> None:
        """Queue ``job`` for the thread, after all jobs queued before it.

        A job that raises StorageError or SchemaError is tried again until it succeeds or the
        recorder closes; one that fails otherwise is logged and given up. What the thread of the
        uploads queues is done by itself: at the end the other one is gone before it.
        """
        if self.uploads is not None and self.uploads.is_here():
            self.uploads.queue.add(job)
        else:
            self.jobs.add(job)

    def begin_uploads(self) -> Uploads:
        """Have nodes recorded by a thread of their own, after their packs are in a bucket."""
        if self.uploads is None:
            self.uploads = Uploads(
                partial(self._attempt, "upload"), lambda: "upload" in self._outages
            )
        return self.uploads

    def after_nodes(self, job: Job) -> None:
        """Queue ``job`` after the nodes of all commits that were queued before it."""

        def in_order() -> None:
            if self.uploads is None:
                job()
            else:
                self.uploads.queue.add(job)

        self.do(in_order)

    def off_database(self) -> AbstractContextManager[None]:
        """For the part of a job that does not use the database, see `JobQueue.off_database`."""
        if self.uploads is not None and self.uploads.is_here():
            return self.uploads.queue.off_database()
        return self.jobs.off_database()

    def append_event(
        self,
        kind: str,
        state: str,
        actor: str,
        step: int,
        *,
        why: str = "",
        payload: dict[str, Any] | None = None,
    ) -> None:
        """Queue a line about this segment for the run's event log, with its counts of saves."""

        def job() -> None:
            with self._database.transaction() as connection:
                run_id = segments.get(connection, self._segment).run_id
                audit.append(
                    connection,
                    run_id,
                    kind=kind,
                    ref=self._segment,
                    state=state,
                    actor=actor,
                    step=step,
                    reason=why,
                    payload=payload,
                )
                segments.count_saves(connection, self._segment, self.saves())

        self.do(job)

    def wait_until_created(self) -> bool:
        """Return whether the segment exists by now; else warn, and it is created later."""
        if self.jobs.wait_for(self.created):
            return True
        if not self.trouble:
            what = f"The database has not answered for {intervals.PATIENCE_SECONDS:g} seconds."
            self.report("record", StorageError(what, safe="The run is created when it does."))
        return False

    def give_up(self) -> None:
        """End the threads without waiting for anything."""
        self.jobs.abandon()
        self.close(lambda: None)

    def report(self, what: str, error: BaseException) -> None:
        """Note that ``what`` is out. It is logged once until everything works again."""
        if self._outages.open(what, str(error), self.step):
            why = cut(str(error))
            logger.warning("branchtrack cannot record (%s): %s Training continues.", what, why)

    def clear(self, what: str) -> None:
        """Note that ``what`` works."""
        if self._outages.close(what, self.step):
            logger.info("branchtrack records again.")

    def close(self, last: Job) -> list[str]:
        """Write what is left, do ``last`` after it, and end the threads.

        Waits for a commit that is being written, however large; what fails is tried again for
        ``END_SECONDS``. If interrupted, it may be called again, and then no longer waits.

        Returns:
            what could not be written, in words.
        """
        repeated = self.jobs.close()
        if self.uploads is not None:
            repeated = self.uploads.queue.close() or repeated
        self._stopped.set()
        self._changes.wake()
        self._pulse.join(intervals.PATIENCE_SECONDS if repeated else None)
        if self.created.is_set():
            self._attempt("store", self.check_store)
            self._finish("metrics", self._write_rest)
            self._finish("heartbeat", self._heartbeat)
            # Writing the lines about an outage may be what ends it, which adds a line.
            for _ in range(2):
                if self._outages.has_unlogged:
                    self._finish("trouble", self._outages.flush)
            self._finish("end", last)
        self._changes.close()
        lost = self.lost
        if self.uploads is None or not self.uploads.queue.thread.is_alive():
            self.ended()
        for line in lost:
            logger.error("branchtrack could not record everything: %s", line)
        return lost

    def _finish(self, what: str, work: Job) -> None:
        """Do some work, repeatedly as long as the end of training waits."""
        while not self._attempt(what, work) and not self.jobs.is_over:
            time.sleep(intervals.POLL_SECONDS)

    def _beat_on(self) -> None:
        while not self._stopped.is_set():
            self._changes.wait(self._poll_seconds)
            if self._stopped.is_set() or not self.created.is_set():
                continue
            self._attempt("requests", self._poll)
            now = time.monotonic()
            if self._points.is_due(now, self._flush_seconds):
                self._attempt("metrics", self._points.flush)
            if now - self._beat >= intervals.HEARTBEAT_SECONDS:
                self._attempt("heartbeat", self._heartbeat)
                self._attempt("store", self.check_store)
                self.beating()
            if self._outages.has_unlogged:
                self._attempt("trouble", self._outages.flush)

    def _attempt(self, what: str, work: Job) -> bool:
        """Do some work; return False if it is to be tried again."""
        try:
            if self.created.is_set():
                self._file.check()
            work()
        except (StorageError, SchemaError, HomeError) as error:
            self.report(what, error)
            return False
        except Exception as error:
            # The threads must outlive a defect of ours: training would continue unrecorded.
            if what not in self._defects:
                logger.exception("branchtrack failed (%s). Training continues.", what)
            self._defects[what] = cut(f"{type(error).__name__}: {error}")
        self.clear(what)
        return True

    def _attempt_job(self, job: Job) -> bool:
        return self._attempt("record", lambda: self._run_job(job))

    def _run_job(self, job: Job) -> None:
        # The points that a node's curve ends with are written before the node.
        if self.created.is_set() and not self._attempt("metrics", self._points.flush):
            # Only its own reason: that of a job that failed before would contain all others.
            raise StorageError(self._outages.why("metrics"))
        self.jobs.on_database()
        job()

    def _create(self, create: Job) -> None:
        try:
            create()
        except (StorageError, SchemaError, HomeError):
            raise
        except Exception as error:
            # Without it nothing can be recorded: it is tried again after any error.
            raise StorageError(
                f"The run cannot be created: {type(error).__name__}: {error}"
            ) from error
        # The file that was in place until now is not the one that is written from here on.
        self._file = FileWatch(self._database)
        self.created.set()

    def _write_points(self, points: Sequence[LoggedPoint]) -> None:
        series = self._series.copy()
        with self._database.transaction() as connection:
            metrics.append(connection, self._segment, points, series)
        self._series = series
        self.written(points)

    def _write_rest(self) -> None:
        self._points.flush()
        with self._database.transaction() as connection:
            metrics.seal_tails(connection, self._segment)
        self._series = metrics.Known()

    def _receive(self) -> None:
        with self._polling:
            # Those that have to be ended instead are left to the thread that polls.
            self.inbox.receive(control.poll(self._database, self._segment), time.time())

    def _poll(self) -> None:
        # Read before the requests are: none of them can have been in time for an earlier step.
        now, step = time.time(), self.step
        inbox = self.inbox
        is_overdue = now >= inbox.next_expiry or step > inbox.last_step
        if not self._changes.anything() and not is_overdue:
            return
        with self._polling:
            polled = control.poll(self._database, self._segment)
            self._changes.seen()
            endings = inbox.receive(polled, now, step)
        for ended in endings:
            with self._database.transaction() as connection:
                requests.move(
                    connection, ended.request.id, ended.state, actor=ended.actor, error=ended.why
                )

    def _heartbeat(self) -> None:
        self._beat, step = time.monotonic(), self.step
        rate = self._pace.rate(self._beat, step)
        with self._database.transaction() as connection:
            segments.heartbeat(
                connection, self._segment, step, rate, self.settings, self.max_steps, self.saves()
            )

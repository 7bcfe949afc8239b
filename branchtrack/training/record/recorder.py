"""The threads that do all of a training process's I/O, so that none of it can hurt training.

One polls for requests (every 25 ms where it costs nothing to see that nothing is new, else every
100 ms), flushes metrics (every 200 ms or 1,000 points) and writes a heartbeat (every second). The
other carries out jobs in order, however long they take: a large commit must not look as if the
process had died. Before each job the points logged so far are written: a node is never visible
before its curve. Trouble is logged once, pending records are kept and tried again, the end waits
for them, and what could not be written is reported then.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from branchtrack import control
from branchtrack.core import preconditions
from branchtrack.core.records import Request
from branchtrack.db import audit, metrics, requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import HomeError, SchemaError, StorageError
from branchtrack.training.record.outages import Troubles, cut
from branchtrack.training.record.watches import ChangeWatch, FileWatch

logger = logging.getLogger("branchtrack")

POLL_SECONDS = 0.1
#: The same on SQLite, where a check for changes needs no query.
LOOK_SECONDS = 0.025
FLUSH_SECONDS = 0.2
FLUSH_POINTS = 1000
HEARTBEAT_SECONDS = 1.0
#: Points in one transaction at most, so that no other writer waits for long.
_FLUSHED_AT_ONCE = 5000
_KEPT_POINTS = 2_000_000
#: How long a training thread that needs a job done waits while the database is blocked.
PATIENCE_SECONDS = 5.0
#: How long the end of training waits for what cannot be written at once.
END_SECONDS = 20.0

Job = Callable[[], None]


class Recorder:
    """Buffers what a segment's training thread records, and writes it from its own threads.

    The next heartbeat writes ``step``, ``settings`` and ``max_steps``; the training thread assigns
    them, and ``saves``, which returns the counts of `saves.Saves`, and ``look``, which raises if
    the store is gone. ``waiting`` is true while there are requests to take, or after `interrupt`
    was called: the one flag that a loop tests. ``awaits`` names what pending requests wait for:
    ``epoch`` (its end), ``checkpoint`` (the next).

    ``create`` creates the segment; until that has succeeded nothing else is written.
    """

    def __init__(
        self, database: Database, segment_id: str, step: int, create: Job | None = None
    ) -> None:
        self.waiting = False
        self.awaits: frozenset[str] = frozenset()
        self.step = step
        self.settings: dict[str, Any] = {}
        self.max_steps: int | None = None
        self.saves: Callable[[], dict[str, Any] | None] = lambda: None
        self.look: Job = lambda: None
        self.created = threading.Event()
        self._interrupted = False
        self._until = math.inf
        self._last_wait: float | None = None
        self._database, self._segment = database, segment_id
        self._points: deque[tuple[str, int, float, float]] = deque(maxlen=_KEPT_POINTS)
        self._jobs: deque[Job] = deque()
        self._found: list[Request] = []
        self._taken: set[str] = set()
        self._series = metrics.Known()
        self._wake, self._flushing = threading.Condition(), threading.Lock()
        self._closing, self._again, self._failures = False, False, 0
        self._troubles = Troubles(database, segment_id)
        self._defects: dict[str, str] = {}
        self._asking: float | None = None
        self._flushed = self._beat = time.monotonic()
        self._beat_step = step
        self._file, self._changes = FileWatch(database), ChangeWatch(database)
        self._every = LOOK_SECONDS if database.is_sqlite else POLL_SECONDS
        self._next_due = math.inf
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._work, name="branchtrack jobs", daemon=True)
        self._pulse = threading.Thread(target=self._beat_on, name="branchtrack pulse", daemon=True)
        if create is None:
            self.created.set()
        else:
            self._jobs.append(lambda: self._create(create))
        self._worker.start()
        self._pulse.start()

    @property
    def is_behind(self) -> bool:
        """Whether jobs are queued after the current one."""
        return len(self._jobs) > 1

    @property
    def is_over(self) -> bool:
        """Whether the end of training has waited long enough: each job is tried once more."""
        return time.monotonic() >= self._until

    @property
    def lost(self) -> list[str]:
        """What has not been written, in words; at the end that is what is lost."""
        lost = self._troubles.lines + [f"{what}: {why}" for what, why in self._defects.items()]
        if self._points:
            lost.append(f"{len(self._points)} metric points were not written")
        if self._jobs:
            lost.append(f"{len(self._jobs)} records were not written")
        return lost if self.created.is_set() else ["the run itself was never recorded", *lost]

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, or an empty text."""
        return str(self._troubles)

    @property
    def hindrance(self) -> str:
        """Why jobs cannot be done at present, or an empty text."""
        return self._troubles.why("record")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Buffer one value each of some metrics at a step. Never blocks, never raises."""
        now = time.time()
        self._points.extend((name, step, value, now) for name, value in values.items())

    def take(self, reached: Container[str] = ()) -> list[Request]:
        """Return the requests that can be carried out, each once, in order of arrival.

        ``reached``: the moments the loop is at, which some requests wait for (see ``awaits``).
        """
        with self._wake:
            ready = [
                pending for pending in self._found if awaited(pending) in ("now", *_of(reached))
            ]
            self._taken.update(request.id for request in ready)
            self._interrupted = False
            self._offer([pending for pending in self._found if pending.id not in self._taken])
        return ready

    def wait(self, seconds: float) -> bool:
        """Wait for a request to take; return False if none has come in time."""
        with self._wake:
            return self._wake.wait_for(lambda: self.waiting, timeout=seconds)

    def interrupt(self) -> None:
        """Make the loop reach a control point as if there was a request."""
        with self._wake:
            self._interrupted = self.waiting = True
            self._wake.notify_all()

    def note(self) -> None:
        """Do as `interrupt`, without its lock: another thread may undo it, so call that too."""
        self._interrupted = self.waiting = True

    def do(self, job: Job) -> None:
        """Queue ``job`` for the thread, after all jobs queued before it.

        A job that raises StorageError or SchemaError is tried again until it succeeds or the
        recorder closes; one that fails otherwise is logged and given up.
        """
        with self._wake:
            self._jobs.append(job)
            self._wake.notify_all()

    def tell(self, kind: str, state: str, actor: str, step: int, why: str) -> None:
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
                )
                segments.count_saves(connection, self._segment, self.saves())

        self.do(job)

    def done(self, event: threading.Event, *, again: bool = False) -> bool:
        """Wait for an event that a job sets; return False if jobs cannot be done at present.

        It waits for the files of a commit however long they take; for the database, which another
        process may hold, only ``PATIENCE_SECONDS``.

        ``again``: try once more now what failed lately, and wait for that in any case, as long as
        the database itself lets writers wait.
        """
        failures = self._failures
        if again:
            with self._wake:
                self._again = True
                self._wake.notify_all()
        while not event.is_set():
            stuck = "record" in self._troubles or self._is_kept_waiting()
            stuck = stuck and not (again and self._failures == failures)
            if stuck or not self._worker.is_alive():
                return event.is_set()
            event.wait(0.05)
        return True

    def done_at_last(self, event: threading.Event) -> bool:
        """Do as `done`, but wait as long as the end of training does: for its last state."""
        if self._last_wait is None:
            self._last_wait = time.monotonic() + END_SECONDS
        while not self.done(event, again=True):
            if time.monotonic() >= self._last_wait or not self._worker.is_alive():
                return False
            time.sleep(POLL_SECONDS)
        return True

    def is_begun(self) -> bool:
        """Return whether the segment exists by now; else warn, and it is created later."""
        if self.done(self.created):
            return True
        if not self.trouble:
            what = f"The database has not answered for {PATIENCE_SECONDS:g} seconds."
            self.report("record", StorageError(what, safe="The run is created when it does."))
        return False

    def give_up(self) -> None:
        """End the threads without waiting for anything."""
        self._closing = True
        self.close(lambda: None)

    @contextmanager
    def off_database(self) -> Iterator[None]:
        """For the part of a job that does not use the database: it may take as long as needed."""
        self._asking = None
        try:
            yield
        finally:
            self._asking = time.monotonic()

    def report(self, what: str, error: BaseException) -> None:
        """Note trouble with ``what``. It is logged once until everything works again."""
        if self._troubles.begin(what, str(error), self.step):
            why = cut(str(error))
            logger.warning("branchtrack cannot record (%s): %s Training continues.", what, why)

    def well(self, what: str) -> None:
        """Note that ``what`` works."""
        if self._troubles.end(what, self.step):
            logger.info("branchtrack records again.")

    def close(self, last: Job) -> list[str]:
        """Write what is left, do ``last`` after it, and end the threads.

        Waits for a commit that is being written, however large; what fails is tried again for
        ``END_SECONDS``. If interrupted, it may be called again, and then no longer waits.

        Returns:
            what could not be written, in words.
        """
        with self._wake:
            again, self._closing = self._closing, True
            self._until = 0.0 if again else time.monotonic() + END_SECONDS
            self._wake.notify_all()
        self._worker.join(PATIENCE_SECONDS if again else None)
        self._stopped.set()
        self._pulse.join(PATIENCE_SECONDS if again else None)
        if self.created.is_set():
            self._attempt("store", self.look)
            for what, work in (("metrics", self._flush), ("heartbeat", self._heartbeat)):
                self._finish(what, work)
            # Writing the lines about trouble may be what ends it, which adds a line.
            for _ in range(2):
                if self._troubles.is_untold:
                    self._finish("trouble", self._troubles.tell)
            self._finish("end", last)
        lost = self.lost
        for line in lost:
            logger.error("branchtrack could not record everything: %s", line)
        return lost

    def _finish(self, what: str, work: Job) -> None:
        """Do some work, repeatedly as long as the end of training waits."""
        while not self._attempt(what, work) and not self.is_over:
            time.sleep(POLL_SECONDS)

    def _work(self) -> None:
        over = False
        while not over:
            with self._wake:
                timeout = POLL_SECONDS if self._jobs else None
                self._wake.wait_for(self._has_work, timeout=timeout)
                closing, over, self._again = self._closing, self.is_over, False
            if self._jobs:
                self._asking = time.monotonic()
                self._run_jobs()
                self._asking = None
            over = closing and (over or not self._jobs)

    def _has_work(self) -> bool:
        if self._again or self.is_over:
            return True
        if not self._jobs:
            return self._closing
        return "record" not in self._troubles

    def _is_kept_waiting(self) -> bool:
        since = self._asking
        return since is not None and time.monotonic() - since > PATIENCE_SECONDS

    def _beat_on(self) -> None:
        while not self._stopped.wait(self._every):
            if not self.created.is_set():
                continue
            self._attempt("requests", self._poll)
            now = time.monotonic()
            if now - self._flushed >= FLUSH_SECONDS or len(self._points) >= FLUSH_POINTS:
                self._attempt("metrics", self._flush)
            if now - self._beat >= HEARTBEAT_SECONDS:
                self._attempt("heartbeat", self._heartbeat)
                self._attempt("store", self.look)
            if self._troubles.is_untold:
                self._attempt("trouble", self._troubles.tell)

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
        self.well(what)
        return True

    def _run_jobs(self) -> None:
        while self._jobs:
            self._asking = time.monotonic()
            if not self._attempt("record", self._run_job):
                self._failures += 1
                return
            self._jobs.popleft()

    def _run_job(self) -> None:
        # The points that a node's curve ends with are written before the node.
        if self.created.is_set() and not self._attempt("metrics", self._flush):
            # Only its own reason: that of a job that failed before would contain all others.
            raise StorageError(self._troubles.why("metrics"))
        self._asking = time.monotonic()
        self._jobs[0]()

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

    def _flush(self) -> None:
        with self._flushing:
            self._flushed = time.monotonic()
            while self._points:
                count = min(len(self._points), _FLUSHED_AT_ONCE)
                points = [self._points[index] for index in range(count)]
                with self._database.transaction() as connection:
                    series = self._series.copy()
                    metrics.append(connection, self._segment, points, series)
                self._series = series
                for _ in range(count):
                    self._points.popleft()

    def _poll(self) -> None:
        now = time.time()
        if not self._changes.anything() and now < self._next_due:
            return
        polled = control.poll(self._database, self._segment)
        self._changes.seen()
        with self._wake:
            # Those seen before that are gone now have been ended by another process.
            fresh = [request for request in polled if request.id not in self._taken]
            over = [pending for pending in fresh if _ending(pending, now) is not None]
            self._offer([request for request in fresh if request not in over])
            self._next_due = min((_due(pending) for pending in self._found), default=math.inf)
        for request in over:
            # No training thread can take it any more.
            state, why, actor = _ending(request, now) or ("", "", "")
            with self._database.transaction() as connection:
                requests.move(connection, request.id, state, actor=actor, error=why)

    def _offer(self, offered: list[Request]) -> None:
        self._found = offered
        for_later = {awaited(request) for request in offered}
        self.awaits = frozenset(for_later - {"now"})
        self.waiting = "now" in for_later or self._interrupted
        if self.waiting:
            self._wake.notify_all()

    def _heartbeat(self) -> None:
        now, step = time.monotonic(), self.step
        rate = (step - self._beat_step) / max(now - self._beat, 1e-9)
        self._beat, self._beat_step = now, step
        with self._database.transaction() as connection:
            segments.heartbeat(
                connection, self._segment, step, rate, self.settings, self.max_steps, self.saves()
            )


def awaited(request: Request) -> str:
    """Return what a request waits for: ``now`` is any control point."""
    return str(request.requested.get("when", "now"))


def _of(reached: Container[str]) -> list[str]:
    return [moment for moment in ("epoch", "checkpoint") if moment in reached]


def _due(request: Request) -> float:
    return float(request.conditions.get("expires_at", math.inf))


def _ending(request: Request, now: float) -> tuple[str, str, str] | None:
    """Return state, reason and actor of a request that ends before it was carried out."""
    if request.cancel is not None:
        return "cancelled", "It was cancelled while it waited.", request.cancel
    late = preconditions.overdue(request.conditions, step=0, now=now)
    return ("expired", late, f"run ({control.local_actor()})") if late else None

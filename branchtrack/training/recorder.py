"""The thread that does all of a training process's I/O, so that none of it can hurt training.

It polls for requests (every 100 ms), flushes metrics (every 200 ms or 1,000 points), says that
the process lives (every second), and carries out jobs in order. Trouble is logged once, what was
to be written is kept and tried again, and what could not be written is reported at the end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from branchtrack import control
from branchtrack.core.records import Request
from branchtrack.db import metrics, segments
from branchtrack.db.engine import Database
from branchtrack.errors import SchemaError, StorageError

logger = logging.getLogger("branchtrack")

POLL_SECONDS = 0.1
FLUSH_SECONDS = 0.2
FLUSH_POINTS = 1000
HEARTBEAT_SECONDS = 1.0
#: Points in one transaction at most, so that no other writer waits for long.
_FLUSHED_AT_ONCE = 5000
_KEPT_POINTS = 2_000_000

Job = Callable[[], None]


class Recorder:
    """Buffers what a segment's training thread says, and writes it from a thread of its own.

    ``step`` and ``settings`` are what the next heartbeat tells; the training thread assigns them.
    ``waiting`` is true while there are requests to be taken: the one flag that a loop tests.
    """

    def __init__(self, database: Database, segment_id: str, step: int) -> None:
        self.waiting = False
        self.step = step
        self.settings: dict[str, Any] = {}
        self._database, self._segment = database, segment_id
        self._points: deque[tuple[str, int, float, float]] = deque(maxlen=_KEPT_POINTS)
        self._jobs: deque[Job] = deque()
        self._last: Job = lambda: None
        self._found: list[Request] = []
        self._taken: set[str] = set()
        self._series: dict[str, int] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._trouble: dict[str, str] = {}
        self._defects: dict[str, str] = {}
        self._failures, self._again = 0, False
        self._beat, self._beat_step = time.monotonic(), step
        self._file = _FileWatch(database)
        self._thread = threading.Thread(target=self._work, name="branchtrack", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why things cannot be written at present, or nothing."""
        return " ".join(dict.fromkeys(list(self._trouble.values())))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Buffer one value each of some metrics at a step. Never blocks, never raises."""
        now = time.time()
        self._points.extend((name, step, value, now) for name, value in values.items())

    def take(self) -> list[Request]:
        """The requests that have arrived since the last call, in order of arrival."""
        with self._wake:
            found, self._found, self.waiting = self._found, [], False
            self._taken.update(request.id for request in found)
        return found

    def do(self, job: Job) -> None:
        """Have ``job`` done by the thread, after all that were given before it.

        A job that raises StorageError or SchemaError is tried again until it succeeds or the
        recorder closes; one that fails otherwise is logged and given up.
        """
        with self._wake:
            self._jobs.append(job)
            self._wake.notify_all()

    def done(self, event: threading.Event, *, again: bool = False) -> bool:
        """Wait for an event that a job sets; false where jobs cannot be done at present.

        ``again``: where they could not lately, have it tried once more now and wait for that.
        """
        failures = self._failures
        if again:
            with self._wake:
                self._again = True
                self._wake.notify_all()
        while not event.is_set():
            stuck = "record" in self._trouble and not (again and self._failures == failures)
            if stuck or not self._thread.is_alive():
                return event.is_set()
            event.wait(0.05)
        return True

    def report(self, what: str, error: BaseException) -> None:
        """Note trouble with ``what``. It is logged once until all is well again."""
        if not self._trouble:
            logger.warning("branchtrack cannot record (%s): %s Training goes on.", what, error)
        self._trouble[what] = str(error)

    def well(self, what: str) -> None:
        """Note that ``what`` works."""
        if self._trouble.pop(what, None) is not None and not self._trouble:
            logger.info("branchtrack records again.")

    def close(self, last: Job) -> list[str]:
        """Write what is left, do ``last`` behind it, and end the thread.

        Waits for a commit that is being written, however large; what fails is not tried again.

        Returns:
            what could not be written, in words.
        """
        with self._wake:
            self._last, self._closing = last, True
            self._wake.notify_all()
        self._thread.join()
        lost = [f"{what}: {why}" for what, why in {**self._trouble, **self._defects}.items()]
        if self._points:
            lost.append(f"{len(self._points)} metric points were not written")
        if self._jobs:
            lost.append(f"{len(self._jobs)} records were not written")
        for line in lost:
            logger.error("branchtrack could not record everything: %s", line)
        return lost

    def _work(self) -> None:
        flushed = time.monotonic()
        while True:
            with self._wake:
                self._wake.wait_for(self._has_work, timeout=POLL_SECONDS)
                closing, self._again = self._closing, False
            now = time.monotonic()
            full = len(self._points) >= FLUSH_POINTS
            if closing or self._jobs or full or now - flushed >= FLUSH_SECONDS:
                self._attempt("metrics", self._flush)
                flushed = now
            if closing or now - self._beat >= HEARTBEAT_SECONDS:
                self._attempt("heartbeat", self._heartbeat)
            self._run_jobs()
            if closing:
                self._attempt("end", self._last)
                return
            self._attempt("requests", self._poll)

    def _has_work(self) -> bool:
        if self._closing or self._again:
            return True
        return bool(self._jobs) and "record" not in self._trouble

    def _attempt(self, what: str, work: Job) -> bool:
        """Do some work; false if it is to be tried again."""
        try:
            self._file.check()
            work()
        except (StorageError, SchemaError) as error:
            self.report(what, error)
            return False
        except Exception as error:
            # The thread must outlive a defect of ours: training would go on unrecorded.
            if what not in self._defects:
                logger.exception("branchtrack failed (%s). Training goes on.", what)
            self._defects[what] = f"{type(error).__name__}: {error}"
        self.well(what)
        return True

    def _run_jobs(self) -> None:
        while self._jobs:
            if not self._attempt("record", self._jobs[0]):
                self._failures += 1
                return
            self._jobs.popleft()

    def _flush(self) -> None:
        while self._points:
            count = min(len(self._points), _FLUSHED_AT_ONCE)
            points = [self._points[place] for place in range(count)]
            with self._database.transaction() as connection:
                series = dict(self._series)
                metrics.append(connection, self._segment, points, series)
            self._series = series
            for _ in range(count):
                self._points.popleft()

    def _poll(self) -> None:
        found = control.poll(self._database, self._segment)
        with self._wake:
            # Those found before and not there any more have been ended by somebody else.
            self._found = [request for request in found if request.id not in self._taken]
            self.waiting = bool(self._found)

    def _heartbeat(self) -> None:
        now, step = time.monotonic(), self.step
        rate = (step - self._beat_step) / max(now - self._beat, 1e-9)
        self._beat, self._beat_step = now, step
        with self._database.transaction() as connection:
            segments.heartbeat(connection, self._segment, step, rate, self.settings)


class _FileWatch:
    """Notices that an SQLite file was moved, deleted or replaced while it is open.

    SQLite does not: it goes on writing into a file that nobody can open any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._place = self._look()

    def check(self) -> None:
        """Connect anew where another file lies in its place.

        Raises:
            StorageError: there is no file.
        """
        place = self._look()
        if place is None and self._place is not None:
            raise StorageError(
                f"The database {self._database.path} is gone.",
                safe="What is to be recorded is kept in memory.",
                fix="Put it back where it was: it will be written then.",
                url=self._database.shown_url,
            )
        if place != self._place:
            self._database.close()
            self._place = place

    def _look(self) -> tuple[int, int] | None:
        if self._database.path is None:
            return None
        try:
            found = self._database.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

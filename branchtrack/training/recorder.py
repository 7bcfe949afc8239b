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
from branchtrack.errors import StorageError

logger = logging.getLogger("branchtrack")

POLL_SECONDS = 0.1
FLUSH_SECONDS = 0.2
FLUSH_POINTS = 1000
HEARTBEAT_SECONDS = 1.0
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
        self._found: list[Request] = []
        self._taken: set[str] = set()
        self._series: dict[str, int] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._trouble: dict[str, str] = {}
        self._beat, self._beat_step = time.monotonic(), step
        self._thread = threading.Thread(target=self._work, name="branchtrack", daemon=True)
        self._thread.start()

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

        A job that raises StorageError is tried again until it succeeds or the recorder closes;
        one that fails otherwise is logged and given up.
        """
        with self._wake:
            self._jobs.append(job)
            self._wake.notify_all()

    def done(self, event: threading.Event) -> bool:
        """Wait for an event that a job sets; false where the thread is stuck and it may not."""
        while not event.wait(0.05):
            if "record" in self._trouble or not self._thread.is_alive():
                return event.is_set()
        return True

    def close(self) -> list[str]:
        """Write what is left and end the thread; returns what could not be written.

        Waits for a commit that is being written, however large; what fails is not tried again.
        """
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        lost = [f"{what}: {why}" for what, why in self._trouble.items()]
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
                closing = self._closing
            now = time.monotonic()
            full = len(self._points) >= FLUSH_POINTS
            if closing or self._jobs or full or now - flushed >= FLUSH_SECONDS:
                self._attempt("metrics", self._flush)
                flushed = now
            self._run_jobs()
            if closing:
                self._attempt("heartbeat", self._heartbeat)
                return
            self._attempt("requests", self._poll)
            if now - self._beat >= HEARTBEAT_SECONDS:
                self._attempt("heartbeat", self._heartbeat)

    def _has_work(self) -> bool:
        return self._closing or bool(self._jobs) and "record" not in self._trouble

    def _attempt(self, what: str, work: Job) -> bool:
        """Do some work; false if it is to be tried again."""
        try:
            work()
        except StorageError as error:
            if what not in self._trouble:
                logger.warning("branchtrack %s: %s Training goes on.", what, error)
            self._trouble[what] = str(error)
            return False
        except Exception:
            # The thread must outlive a defect of ours: training would go on unrecorded.
            logger.exception("branchtrack %s failed. Training goes on.", what)
        self._trouble.pop(what, None)
        return True

    def _run_jobs(self) -> None:
        while self._jobs:
            if not self._attempt("record", self._jobs[0]):
                return
            self._jobs.popleft()

    def _flush(self) -> None:
        count = len(self._points)
        if not count:
            return
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
            known = self._taken | {request.id for request in self._found}
            self._found += [request for request in found if request.id not in known]
            self.waiting = bool(self._found)

    def _heartbeat(self) -> None:
        now, step = time.monotonic(), self.step
        rate = (step - self._beat_step) / max(now - self._beat, 1e-9)
        self._beat, self._beat_step = now, step
        with self._database.transaction() as connection:
            segments.heartbeat(connection, self._segment, step, rate, self.settings)

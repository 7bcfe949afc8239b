"""The jobs of a recorder, done one after another by a thread of their own.

It knows no database: what a job does, and which errors let it be tried again, others decide.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from branchtrack.training.record import intervals

Job = Callable[[], None]


class JobQueue:
    """Jobs in order, each tried until it is done; ``thread`` does them once it was started.

    ``attempt`` does a job and returns False if it is to be tried again; ``is_stuck`` returns
    whether jobs cannot be done at present.

    Locking: the queue grows, and flags change, under one condition; only the thread removes a job,
    once it is done, and the times are single values that one thread sets and others only read.
    """

    def __init__(self, attempt: Callable[[Job], bool], is_stuck: Callable[[], bool]) -> None:
        self.thread = threading.Thread(target=self.run, name="branchtrack jobs", daemon=True)
        self._attempt, self._is_stuck = attempt, is_stuck
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = self._retries = False
        self._failures = 0
        self._until = math.inf
        self._last_wait: float | None = None
        self._at_database_since: float | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def is_behind(self) -> bool:
        """Whether jobs are queued after the current one."""
        return len(self._jobs) > 1

    @property
    def is_over(self) -> bool:
        """Whether the end of training has waited long enough: each job is tried once more."""
        return time.monotonic() >= self._until

    def add(self, job: Job) -> None:
        """Queue ``job`` after all jobs queued before it."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def add_if_open(self, job: Job) -> bool:
        """Do as `add` unless the queue is being closed; return whether ``job`` will be done."""
        with self._changed:
            if self._closing:
                return False
            self._jobs.append(job)
            self._changed.notify_all()
        return True

    def wait_for(self, event: threading.Event, *, retry: bool = False) -> bool:
        """Wait for an event that a job sets; return False if jobs cannot be done at present.

        It waits for the files of a commit however long they take; for the database, which another
        process may hold, only ``PATIENCE_SECONDS``.

        ``retry``: try once more now what failed lately, and wait for that in any case, as long as
        the database itself lets writers wait.
        """
        failures = self._failures
        if retry:
            with self._changed:
                self._retries = True
                self._changed.notify_all()
        while not event.is_set():
            stuck = self._is_stuck() or self._is_blocked()
            stuck = stuck and not (retry and self._failures == failures)
            if stuck or not self.thread.is_alive():
                return event.is_set()
            event.wait(0.05)
        return True

    def wait_for_last(self, event: threading.Event) -> bool:
        """Do as `wait_for`, but as long as the end of training waits: for its last state."""
        if self._last_wait is None:
            self._last_wait = time.monotonic() + intervals.END_SECONDS
        while not self.wait_for(event, retry=True):
            if time.monotonic() >= self._last_wait or not self.thread.is_alive():
                return False
            time.sleep(intervals.POLL_SECONDS)
        return True

    @contextmanager
    def off_database(self) -> Iterator[None]:
        """For the part of a job that does not use the database: it may take as long as needed."""
        self._at_database_since = None
        try:
            yield
        finally:
            self.on_database()

    def on_database(self) -> None:
        """Count the time that the present job waits for the database from now on."""
        self._at_database_since = time.monotonic()

    def abandon(self) -> None:
        """Make the next `close` wait for nothing."""
        self._closing = True

    def close(self) -> bool:
        """End the thread once all jobs are done, or have been tried for ``END_SECONDS``.

        Returns:
            whether this is a repeated call, which waits no longer than ``PATIENCE_SECONDS``.
        """
        with self._changed:
            repeated, self._closing = self._closing, True
            self._until = 0.0 if repeated else time.monotonic() + intervals.END_SECONDS
            self._changed.notify_all()
        self.thread.join(intervals.PATIENCE_SECONDS if repeated else None)
        return repeated

    def run(self) -> None:
        """Do jobs until `close` lets it end; the thread's work."""
        over = False
        while not over:
            with self._changed:
                timeout = intervals.POLL_SECONDS if self._jobs else None
                self._changed.wait_for(self._has_work, timeout=timeout)
                closing, over, self._retries = self._closing, self.is_over, False
            if self._jobs:
                self.run_pending()
                self._at_database_since = None
            over = closing and (over or not self._jobs)

    def run_pending(self) -> None:
        """Do the jobs that are queued, up to the first that has to be tried again."""
        while self._jobs:
            self.on_database()
            if not self._attempt(self._jobs[0]):
                self._failures += 1
                return
            self._jobs.popleft()

    def _has_work(self) -> bool:
        if self._retries or self.is_over:
            return True
        if not self._jobs:
            return self._closing
        return not self._is_stuck()

    def _is_blocked(self) -> bool:
        since = self._at_database_since
        return since is not None and time.monotonic() - since > intervals.PATIENCE_SECONDS

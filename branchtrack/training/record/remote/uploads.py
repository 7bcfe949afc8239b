"""What waits until packs are in the bucket, done in order by a thread of its own.

A node is recorded after its pack was uploaded, and what refers to the node after that; nothing
else waits for it. An endpoint that fails is tried again, less and less often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from branchtrack.training.record.jobs import Job, JobQueue

#: Seconds between two attempts: the first, and the most.
_FIRST, _MOST = 0.2, 5.0


class Uploads:
    """Jobs in order; ``attempt`` does one, and returns False if it is to be tried again."""

    def __init__(self, attempt: Callable[[Job], bool], is_stuck: Callable[[], bool]) -> None:
        self._attempt = attempt
        self._wait, self._next = _FIRST, 0.0
        self.queue = JobQueue(self._try, is_stuck)
        self.queue.thread.name = "branchtrack uploads"
        self.queue.thread.start()

    def __len__(self) -> int:
        return len(self.queue)

    def is_here(self) -> bool:
        """Return whether the calling thread is the one that does the jobs."""
        return threading.current_thread() is self.queue.thread

    def _try(self, job: Job) -> bool:
        if time.monotonic() < self._next and not self.queue.is_over:
            return False
        if self._attempt(job):
            self._wait = _FIRST
            return True
        self._next = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _MOST)
        return False

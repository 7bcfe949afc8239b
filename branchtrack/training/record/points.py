"""The metric points of a segment between the training thread, which logs them, and the database."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

#: A point that was logged: name, step, value, time.
LoggedPoint = tuple[str, int, float, float]

#: Points that are written without waiting.
FLUSH_POINTS = 1000
#: Points in one transaction at most, so that no other writer waits for long.
TRANSACTION_POINTS = 5000
#: Points kept while they cannot be written; then the oldest are dropped.
_CAPACITY = 2_000_000


class Points:
    """The points that are not written yet; ``write`` writes some of them, or raises.

    Locking: `log` appends at one end without a lock, and `flush`, which alone removes points, does
    so at the other end under a lock of its own.
    """

    def __init__(self, write: Callable[[Sequence[LoggedPoint]], None]) -> None:
        self._write = write
        self._buffer: deque[LoggedPoint] = deque(maxlen=_CAPACITY)
        self._flushing = threading.Lock()
        self._flushed_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._buffer)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Buffer one value each of some metrics at a step. Never blocks, never raises."""
        now = time.time()
        self._buffer.extend((name, step, value, now) for name, value in values.items())

    def is_due(self, now: float, seconds: float) -> bool:
        """Return whether points should be written, which is so after some seconds at the latest.

        ``now`` is a time of `time.monotonic`.
        """
        is_late = now - self._flushed_at >= seconds
        return is_late or len(self._buffer) >= FLUSH_POINTS

    def flush(self) -> None:
        """Write all points, in as many transactions as needed.

        Raises:
            Exception: that of ``write``; the points that it did not write are kept.
        """
        with self._flushing:
            self._flushed_at = time.monotonic()
            while self._buffer:
                count = min(len(self._buffer), TRANSACTION_POINTS)
                self._write([self._buffer[index] for index in range(count)])
                for _ in range(count):
                    self._buffer.popleft()

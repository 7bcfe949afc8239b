"""Limits on the requests of each caller, in memory, and too generous for any page to reach.

It knows no page and no database: `Tally` passes on refusals that are only counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping

#: Callers that are remembered, the most recent ones.
_MOST = 10_000
_log = logging.getLogger(__name__)


class Limit:
    """A limit of ``burst`` requests at once for each caller, then ``rate`` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._lock = threading.Lock()
        #: What is left of each caller's burst, and when that was so.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Return the seconds until the caller may make one more request; 0 if it may now."""
        with self._lock:
            return max(0.0, (1.0 - self._left_now(caller)) / self.rate)

    def take(self, caller: str) -> float:
        """Count a request if it may be made, and return what `wait` would have."""
        with self._lock:
            left = self._left_now(caller)
            if left < 1.0:
                return (1.0 - left) / self.rate
            self._left[caller] = (left - 1.0, time.monotonic())
            self._left.move_to_end(caller)
            if len(self._left) > _MOST:
                self._left.popitem(last=False)
            return 0.0

    def charge(self, caller: str, amount: float) -> None:
        """Reduce what the caller has left by ``amount``, below zero if need be."""
        with self._lock:
            self._left[caller] = (self._left_now(caller) - amount, time.monotonic())
            self._left.move_to_end(caller)
            if len(self._left) > _MOST:
                self._left.popitem(last=False)

    def _left_now(self, caller: str) -> float:
        left, since = self._left.get(caller, (self.burst, 0.0))
        return min(self.burst, left + (time.monotonic() - since) * self.rate)


class Tally:
    """A count of refusals by key, which is passed on once a second at most."""

    def __init__(self, write: Callable[[Mapping[tuple[str, str, str], int]], None]) -> None:
        self._write, self._lock = write, threading.Lock()
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._timer: threading.Timer | None = None

    def add(self, *key: str) -> None:
        """Count one more refusal: (branch, actor, kind of error)."""
        branch, actor, kind = key
        with self._lock:
            if len(self._counts) < _MOST:
                self._counts[branch, actor, kind] += 1
            if self._timer is None:
                self._timer = threading.Timer(1.0, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Pass on what was counted."""
        with self._lock:
            counts, self._counts, self._timer = self._counts, Counter(), None
        if counts:
            try:
                self._write(counts)
            except Exception:
                _log.exception("%d refusals could not be counted", counts.total())

"""The pauses that hold a training: it continues once the last of them has ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from branchtrack.core.records import Request


class Holds:
    """Pauses by the id of their request; some end by themselves.

    ``clock`` returns seconds, from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Replaced, never changed: another thread may be looking.
        self._ends: dict[str, float] = {}

    def __bool__(self) -> bool:
        now = self._clock()
        return any(end > now for end in self._ends.values())

    def begin(self, pause: Request) -> None:
        """Hold the training until a pause is ended, or its time is over."""
        seconds = pause.requested.get("seconds")
        end = math.inf if seconds is None else self._clock() + seconds
        self._ends = {**self._ends, pause.id: end}

    def end(self, pause_id: str | None) -> None:
        """End one pause, or all."""
        left = {} if pause_id is None else self._ends
        self._ends = {name: end for name, end in left.items() if name != pause_id}

"""How fast a training goes, also one whose updates take longer than the time between two looks."""

from __future__ import annotations

from collections import deque

#: Seconds over which updates are counted, unless two of them take longer.
SECONDS = 20.0
_FEWEST_MARKS = 3


class Pace:
    """Updates per second up to now; times are those of `time.monotonic`.

    Between two updates of a slow training it stays what it was, until the next one is overdue.
    """

    def __init__(self, now: float, step: int) -> None:
        #: When steps were first seen, oldest first.
        self._marks = deque([(now, step)])

    def rate(self, now: float, step: int) -> float:
        """Note the present step; return the rate, 0 before an update and while none comes."""
        reached = self._marks[-1][1]
        if step < reached or (step > reached and self._rate(now) == 0 and len(self._marks) > 1):
            # It was rewound, or held: what was before does not say how fast it is now.
            self._marks.clear()
        if not self._marks or step > reached:
            self._marks.append((now, step))
        while len(self._marks) > _FEWEST_MARKS and self._marks[1][0] <= now - SECONDS:
            self._marks.popleft()
        return self._rate(now)

    def _rate(self, now: float) -> float:
        (began, first), (last, reached) = self._marks[0], self._marks[-1]
        if reached == first or last <= began:
            return 0.0
        length = (last - began) / (reached - first)
        overdue = max(now - last - length, 0.0)
        if overdue > max(SECONDS, 3 * length):
            return 0.0
        return (reached - first) / (last - began + overdue)

"""At which updates the ranks of a training meet, announced before any of them gets there.

The first rank alone knows of requests. It announces up to which update all go on freely, and at
which they meet: a meeting is always ahead of every rank, so all act after the same update, though
none waits in between. One message covers many updates where these are short.
"""

from __future__ import annotations

import math
import time

from branchtrack.training.ranks.channel import Channel, lost

#: Seconds of updates that one announcement covers: a request waits that long at most.
AHEAD_SECONDS = 0.04
#: Updates that one announcement covers at most.
_MOST = 64
_KEY = "gate"


class Gate:
    """What rank 0 announces, and the others follow; ``messages`` counts what was sent or read."""

    def __init__(self, channel: Channel, step: int) -> None:
        self.messages = 0
        self._channel = channel
        #: All go on freely up to this update, and meet at that one.
        self._until, self._meeting = step, -1
        self._measured: tuple[int, float] | None = None
        self._seconds = math.inf

    def is_meeting(self, step: int) -> bool:
        """Return whether the ranks meet after update ``step``; the others wait to know it.

        Raises:
            RankLost: rank 0 is gone.
        """
        if not self._channel.leads:
            pause = 0.0002
            while self._until < step:
                self._follow()
                if self._until < step:
                    why = self._channel.absence(0) if pause >= 0.01 else ""
                    if why:
                        raise lost(0, why)
                    time.sleep(pause)
                    pause = min(pause * 1.5, 0.01)
        return self._meeting == step

    def announce(self, step: int, *, wanted: bool, known: float = math.inf) -> None:
        """Announce what follows update ``step``; rank 0 calls it after each.

        ``wanted``: they are to meet as soon as possible; ``known`` is the next update at which they
        have to meet in any case.
        """
        self._measure(step)
        if step >= self._until:
            wanted = wanted or known <= step
            ahead = 1 if wanted else self._ahead()
            until = min(step + ahead, known)
            self._tell(int(until), wanted or until == known)
        elif (wanted or known <= self._until) and self._meeting <= step:
            self._tell(self._until + 1, True)

    def _tell(self, until: int, meets: bool) -> None:
        self._until = until
        if meets:
            self._meeting = until
        self._channel.post(_KEY, [self._until, self._meeting])
        self.messages += 1

    def _follow(self) -> None:
        told = self._channel.peek(_KEY)
        self.messages += 1
        if told is not None:
            self._until, self._meeting = max(told[0], self._until), told[1]

    def _measure(self, step: int) -> None:
        now = time.monotonic()
        if self._measured is not None and step > self._measured[0]:
            taken = (now - self._measured[1]) / (step - self._measured[0])
            # What takes long once (an evaluation, a pause) says nothing of most updates.
            self._seconds = taken if math.isinf(self._seconds) else min(taken, 2 * self._seconds)
        self._measured = step, now

    def _ahead(self) -> int:
        if math.isinf(self._seconds):
            return 1
        return max(1, min(_MOST, int(AHEAD_SECONDS / max(self._seconds, 1e-6))))

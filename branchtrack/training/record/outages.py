"""What a training process cannot record at present, and the lines of the event log that report it.

It logs nothing and decides nothing; the recorder calls it when an outage begins and ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from branchtrack import control
from branchtrack.db import audit, segments
from branchtrack.db.engine import Database

#: Lines kept while the database cannot be written.
_CAPACITY = 1000
#: Characters of a reason: reasons quote each other repeatedly while an outage lasts.
_LONGEST = 500


@dataclass(frozen=True)
class OutageLine:
    """A line for the event log: at ``step`` and ``time`` an outage was ``begun``, or ``over``."""

    state: str
    what: str
    why: str
    step: int
    time: float


class Outages:
    """What of one segment cannot be recorded, with the reasons; ``write`` writes lines about it.

    Locking: what is out changes under one lock, and `flush` alone removes lines, under another, so
    that no thread waits for the database to note an outage.
    """

    def __init__(self, write: Callable[[Sequence[OutageLine]], None]) -> None:
        self._write = write
        self._reasons: dict[str, str] = {}
        self._unlogged: deque[OutageLine] = deque(maxlen=_CAPACITY)
        self._lock, self._flushing = threading.Lock(), threading.Lock()

    def __contains__(self, what: str) -> bool:
        return what in self._reasons

    def why(self, what: str) -> str:
        """Return the reason why ``what`` is out, or an empty text."""
        return self._reasons.get(what, "")

    def __str__(self) -> str:
        return " ".join(dict.fromkeys(list(self._reasons.values())))

    @property
    def lines(self) -> list[str]:
        """Each outage with its reason."""
        return [f"{what}: {why}" for what, why in list(self._reasons.items())]

    @property
    def has_unlogged(self) -> bool:
        """Whether something has happened that is not in the event log yet."""
        return bool(self._unlogged)

    def open(self, what: str, why: str, step: int) -> bool:
        """Note that ``what`` is out; return whether everything worked until now."""
        why = cut(why)
        with self._lock:
            first, self._reasons[what] = not self._reasons, why
            if first:
                self._unlogged.append(OutageLine("begun", what, why, step, time.time()))
        return first

    def close(self, what: str, step: int) -> bool:
        """Note that ``what`` works; return whether it was the last that was out."""
        if what not in self._reasons:
            return False
        with self._lock:
            over = self._reasons.pop(what, None) is not None and not self._reasons
            if over:
                self._unlogged.append(OutageLine("over", what, "", step, time.time()))
        return over

    def flush(self) -> None:
        """Write the lines that are not in the event log yet.

        Raises:
            Exception: that of ``write``; everything is kept.
        """
        with self._flushing:
            unlogged = list(self._unlogged)
            self._write(unlogged)
            for _ in unlogged:
                self._unlogged.popleft()


def append_events(database: Database, segment_id: str, lines: Sequence[OutageLine]) -> None:
    """Append lines about a segment to its run's event log, all or none.

    They are late by nature: the time at which the outage began or ended is in their payload.
    """
    with database.transaction() as connection:
        run_id = segments.get(connection, segment_id).run_id
        for line in lines:
            audit.append(
                connection,
                run_id,
                kind="trouble",
                ref=segment_id,
                state=line.state,
                actor=f"run ({control.local_actor()})",
                step=line.step,
                reason=line.why,
                payload={"what": line.what, "time": line.time},
            )


def cut(reason: str) -> str:
    """Cut a reason to a length that stays the same however often reasons quote each other."""
    return reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 4]} ..."

"""What a training process cannot record at present, and the lines of the event log that report it.

It logs nothing and decides nothing; the recorder calls it when trouble begins and ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from branchtrack import control
from branchtrack.db import audit, segments
from branchtrack.db.engine import Database

#: Lines kept while the database cannot be written.
_KEPT = 1000
#: Characters of a reason: reasons quote each other repeatedly while trouble lasts.
_LONGEST = 500


class Troubles:
    """The troubles of one segment, by what cannot be recorded. Threads may share it."""

    def __init__(self, database: Database, segment_id: str) -> None:
        self._database, self._segment = database, segment_id
        self._now: dict[str, str] = {}
        self._untold: deque[tuple[str, str, str, int, float]] = deque(maxlen=_KEPT)
        self._lock, self._telling = threading.Lock(), threading.Lock()

    def __contains__(self, what: str) -> bool:
        return what in self._now

    def why(self, what: str) -> str:
        """Return the reason of the trouble with ``what``, or an empty text."""
        return self._now.get(what, "")

    def __str__(self) -> str:
        return " ".join(dict.fromkeys(list(self._now.values())))

    @property
    def lines(self) -> list[str]:
        """Each trouble with its reason."""
        return [f"{what}: {why}" for what, why in list(self._now.items())]

    @property
    def is_untold(self) -> bool:
        """Whether something has happened that is not in the event log yet."""
        return bool(self._untold)

    def begin(self, what: str, why: str, step: int) -> bool:
        """Note trouble with ``what``; return whether there was none before."""
        why = cut(why)
        with self._lock:
            first, self._now[what] = not self._now, why
            if first:
                self._untold.append(("begun", what, why, step, time.time()))
        return first

    def end(self, what: str, step: int) -> bool:
        """Note that ``what`` works; return whether that was the last trouble."""
        if what not in self._now:
            return False
        with self._lock:
            over = self._now.pop(what, None) is not None and not self._now
            if over:
                self._untold.append(("over", what, "", step, time.time()))
        return over

    def tell(self) -> None:
        """Append to the run's event log when trouble began and ended.

        The lines are late by nature: the time at which trouble began or ended is in their payload.

        Raises:
            StorageError: the database failed; nothing is appended, and everything is kept.
        """
        with self._telling:
            untold = list(self._untold)
            with self._database.transaction() as connection:
                run_id = segments.get(connection, self._segment).run_id
                for state, what, why, step, when in untold:
                    audit.append(
                        connection,
                        run_id,
                        kind="trouble",
                        ref=self._segment,
                        state=state,
                        actor=f"run ({control.local_actor()})",
                        step=step,
                        reason=why,
                        payload={"what": what, "time": when},
                    )
            for _ in untold:
                self._untold.popleft()


def cut(reason: str) -> str:
    """Cut a reason to a length that stays the same however often reasons quote each other."""
    return reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 4]} ..."

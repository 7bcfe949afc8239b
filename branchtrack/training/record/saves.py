"""The saves that are due by the script's own cadence, counted: made, still owed, or missed.

A save that cannot be made where it is due stays owed: it is made at the first control point at
which it can be, until the next one is due. It knows no database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Saves:
    """The saves of one segment. Threads may share it.

    ``owed`` is the step of the save to be made at this control point, or as soon as possible:
    ``waits`` says that it could not be made where it was due. ``report`` is called with the step
    and the reason of each that will not be made any more.
    """

    def __init__(self, report: Callable[[int, str], None]) -> None:
        self.owed: int | None = None
        self.waits = False
        self._why = ""
        self._report, self._lock = report, threading.Lock()
        self._due, self._made = 0, 0
        self._missed: list[int] = []

    def ask(self, step: int) -> None:
        """Note that a save is due at ``step``; one that was owed until now is missed."""
        self.drop()
        with self._lock:
            self._due += 1
            self.owed, self.waits, self._why = step, False, ""

    def put_off(self, why: str) -> None:
        """Note that the owed save cannot be made at this control point."""
        self._why, self.waits = why, self.owed is not None

    def take(self) -> int | None:
        """Return the step of the save that a commit is about to make, no longer owed."""
        with self._lock:
            step, self.owed, self.waits = self.owed, None, False
        return step

    def drop(self, why: str = "") -> None:
        """Note that the owed save will not be made any more."""
        step = self.take()
        if step is not None:
            self.miss(step, why or self._why)

    def make(self, step: int | None) -> None:
        """Note that the save taken at ``step`` is durable."""
        if step is not None:
            with self._lock:
                self._made += 1

    def miss(self, step: int | None, why: str) -> None:
        """Note that the save taken at ``step`` was not made, and will not be."""
        if step is not None:
            with self._lock:
                self._missed.append(step)
            self._report(step, why)

    def as_dict(self, durable: int | None = None) -> dict[str, Any] | None:
        """Return ``due``, ``made`` and the steps ``missed``; None if none was due yet.

        ``durable`` is the step of a save that becomes durable with this record.
        """
        with self._lock:
            if not self._due:
                return None
            completed = self._made + (durable is not None)
            return {"due": self._due, "made": completed, "missed": list(self._missed)}

"""What is new in the log of a run: every event, each with its number as the cursor after it.

It knows no request and writes no markup.
"""

from __future__ import annotations

from typing import Any

from branchtrack.analysis import payloads_audit
from branchtrack.core.records import Run
from branchtrack.db import audit
from branchtrack.db.engine import Database

#: Events of one look; of more the rest is in the next.
_MOST = 500


class LogFollower:
    """A reader of one run's log; ``cursor`` is the number of the last event that it has."""

    def __init__(self, database: Database, run: Run, cursor: int) -> None:
        self.database, self.run, self.cursor = database, run, cursor

    @property
    def state(self) -> tuple[Any, ...]:
        """Return what determines the next look: followers with equal states will see the same."""
        return ("log", self.run.id, self.cursor)

    def look(self) -> list[tuple[str, dict[str, Any]]]:
        """Return a message (name, data) for each event since the last look, oldest first."""
        with self.database.read() as connection:
            events = audit.after(connection, self.run.id, self.cursor, _MOST)
        self.cursor = events[-1].seq if events else self.cursor
        return [("event", payloads_audit.event(event)) for event in events]

    def id_after(self, data: dict[str, Any]) -> str:
        """Return the cursor of a reader that has a message, and none after it."""
        return str(data["seq"])

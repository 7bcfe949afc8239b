"""How many alerts nobody has seen, for the head of every page."""

from __future__ import annotations

import time

from flask import current_app

from branchtrack.db.watching import alerts
from branchtrack.web.services import services

#: Seconds for which a count holds, for all pages of a server.
SECONDS = 5.0
_KEY = "branchtrack-unseen-alerts"


def count() -> int:
    """Return how many warnings and errors nobody has seen, as of some seconds ago.

    Many pages share one query: most of them change nothing of this.
    """
    counted_at, unseen = current_app.extensions.get(_KEY, (0.0, 0))
    if time.monotonic() - counted_at < SECONDS and counted_at:
        return int(unseen)
    with services().database.read() as connection:
        unseen = alerts.count_unseen(connection, levels=("warn", "error"))
    current_app.extensions[_KEY] = (time.monotonic(), unseen)
    return int(unseen)


def forget() -> None:
    """Have the next page count again: something was seen."""
    current_app.extensions.pop(_KEY, None)

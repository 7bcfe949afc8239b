"""The lives of segments, requests, launches and agents: their states and the legal moves.

``waiting -> running <-> paused -> finished | stopped | suspended | failed``; a segment whose
process is gone, or whose heartbeat is old, is shown as ``lost``. ``suspended`` is a pause that has
ended its process, and is shown as ``paused``. Requests and launches as in the tables below.
"""

from __future__ import annotations

from collections.abc import Iterable

from branchtrack.core.records import Segment

#: Seconds without a heartbeat after which a running segment counts as lost.
LOST_AFTER = 10.0
#: The same if its process is seen to be gone: another one of that host's name may have its own
#: processes (containers), so that a fresh heartbeat counts for more.
GONE_AFTER = 2.5
#: And if it is seen to be there: a database held by other processes may block its heartbeat.
SILENT_AFTER = 55.0
#: Seconds of silence after which a worker's launches are those of any other.
WORKER_SILENT_AFTER = 10.0

_MOVES: dict[str, dict[str, tuple[str, ...]]] = {
    "segment": {
        "waiting": ("running", "failed", "stopped"),
        "running": ("paused", "finished", "stopped", "suspended", "failed"),
        "paused": ("running", "finished", "stopped", "suspended", "failed"),
    },
    "request": {
        "received": ("accepted", "rejected", "proposed"),
        # It waits for a person; what is approved is checked at the door again.
        "proposed": ("accepted", "rejected", "declined", "expired", "cancelled"),
        "accepted": ("applied", "failed", "expired", "cancelled", "superseded"),
        # Its process was taken for dead, but was merely blocked.
        "expired": ("applied",),
        "applied": ("verified", "ineffective", "done", "failed", "superseded"),
    },
    "agent": {
        "running": ("ended", "stopped", "failed", "exhausted"),
        # The same agent, started again.
        "ended": ("running",),
        "stopped": ("running",),
        "failed": ("running",),
        "exhausted": ("running",),
    },
    "launch": {
        "queued": ("starting", "failed", "cancelled"),
        "starting": ("running", "failed", "queued", "cancelled"),
        # Back into the queue goes one whose worker ended before it trained.
        "running": ("ended", "failed", "cancelled", "queued"),
    },
}
#: Every state that a segment, a request, a launch or an agent can have, by kind.
STATES: dict[str, frozenset[str]] = {
    kind: frozenset(moves).union(*moves.values()) for kind, moves in _MOVES.items()
}
#: The final request states.
REQUEST_ENDS = frozenset(
    "rejected declined verified ineffective done failed expired cancelled superseded".split()
)
LAUNCH_ENDS = frozenset(("ended", "failed", "cancelled"))
LIVE = frozenset(("running", "paused"))
SUSPENDED = "suspended"
#: How a branch that a crash has ended is left.
CRASHED = frozenset(("lost", "failed"))


def sources(kind: str, after: str) -> tuple[str, ...]:
    """Return the states from which a ``kind`` may become ``after``."""
    return tuple(state for state, moves in _MOVES[kind].items() if after in moves)


def segment_status(segment: Segment, now: float) -> str:
    """Return the status as stored, ``lost`` if the process is gone; `shown` is what people read."""
    if segment.status not in LIVE:
        return "lost" if segment.status == "waiting" and segment.gone else segment.status
    last = segment.heartbeat_at or segment.started_at or 0.0
    limit = LOST_AFTER
    if segment.gone is not None:
        limit = GONE_AFTER if segment.gone else SILENT_AFTER
    return "lost" if now - last > limit else segment.status


def shown(status: str) -> str:
    """Return the status in the word that people read."""
    return "paused" if status == SUSPENDED else status


def run_status(branch_statuses: Iterable[str]) -> str:
    """Return one word for a tree: its liveliest branch, or else how its first branch ended."""
    statuses = [shown(status) for status in branch_statuses]
    for word in ("running", "paused", "waiting"):
        if word in statuses:
            return word
    return statuses[0] if statuses else "empty"

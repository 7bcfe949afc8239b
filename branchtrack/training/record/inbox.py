"""The requests to a segment between the polling thread, which finds them, and the training thread.

It knows no database: `receive` gets what was polled, and returns what has to be ended there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass

from branchtrack import control
from branchtrack.core import preconditions
from branchtrack.core.records import Request

#: What requests can wait for, other than the next control point.
_MOMENTS = ("epoch", "checkpoint")


@dataclass(frozen=True)
class EndedRequest:
    """A request that ends before it was carried out: its new state, the reason and the actor."""

    request: Request
    state: str
    why: str
    actor: str


class Inbox:
    """The requests that the training thread has not taken yet, in order of arrival.

    ``waiting`` is true while there are requests to take, or after `interrupt` was called: the one
    flag that a loop tests. ``awaits`` names what pending requests wait for: ``epoch`` (its end),
    ``checkpoint`` (the next). ``next_expiry`` is the time at which the first of them expires.

    Locking: everything changes under one condition, except that `note` sets flags without it and
    that a loop reads ``waiting`` and ``awaits`` without it.
    """

    def __init__(self) -> None:
        self.waiting = False
        self.awaits: frozenset[str] = frozenset()
        self.pending: list[Request] = []
        self.next_expiry = math.inf
        self._taken_ids: set[str] = set()
        self._interrupted = False
        self._changed = threading.Condition()

    def receive(self, polled: Iterable[Request], now: float) -> list[EndedRequest]:
        """Replace what is pending by all requests of the segment that can still be carried out.

        Those that were pending and are not polled any more were ended by another process.

        Returns:
            those that no training thread can take, because they were cancelled or have expired.
        """
        with self._changed:
            fresh = [request for request in polled if request.id not in self._taken_ids]
            endings = [_ending(request, now) for request in fresh]
            self._offer([r for r, ending in zip(fresh, endings, strict=True) if ending is None])
            self.next_expiry = min((_expiry(request) for request in self.pending), default=math.inf)
        return [ending for ending in endings if ending is not None]

    def take(self, reached: Container[str] = ()) -> list[Request]:
        """Return the requests that can be carried out, each once, in order of arrival.

        ``reached``: the moments the loop is at, which some requests wait for (see ``awaits``).
        """
        with self._changed:
            moments = ("now", *(moment for moment in _MOMENTS if moment in reached))
            ready = [request for request in self.pending if awaited(request) in moments]
            self._taken_ids.update(request.id for request in ready)
            self._interrupted = False
            self._offer([r for r in self.pending if r.id not in self._taken_ids])
        return ready

    def wait(self, seconds: float) -> bool:
        """Wait for a request to take; return False if none has come in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting, timeout=seconds)

    def interrupt(self) -> None:
        """Make the loop reach a control point as if there was a request."""
        with self._changed:
            self._interrupted = self.waiting = True
            self._changed.notify_all()

    def note(self) -> None:
        """Do as `interrupt`, without its lock: another thread may undo it, so call that too."""
        self._interrupted = self.waiting = True

    def _offer(self, requests: list[Request]) -> None:
        self.pending = requests
        moments = {awaited(request) for request in requests}
        self.awaits = frozenset(moments - {"now"})
        self.waiting = "now" in moments or self._interrupted
        if self.waiting:
            self._changed.notify_all()


def awaited(request: Request) -> str:
    """Return what a request waits for: ``now`` is any control point."""
    return str(request.requested.get("when", "now"))


def _expiry(request: Request) -> float:
    return float(request.conditions.get("expires_at", math.inf))


def _ending(request: Request, now: float) -> EndedRequest | None:
    if request.cancel is not None:
        why = "It was cancelled while it waited."
        return EndedRequest(request, "cancelled", why, request.cancel)
    late = preconditions.overdue(request.conditions, step=0, now=now)
    if late:
        return EndedRequest(request, "expired", late, f"run ({control.local_actor()})")
    return None

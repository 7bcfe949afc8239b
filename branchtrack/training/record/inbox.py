"""The requests to a segment between the polling thread, which finds them, and the training thread.

It knows no database: `receive` gets what was polled, and returns what has to be ended there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from branchtrack import control
from branchtrack.core import preconditions
from branchtrack.core.queries import metric_conditions
from branchtrack.core.queries.terms import Term
from branchtrack.core.records import Request

#: What requests can wait for, other than the next control point.
_MOMENTS = ("epoch", "checkpoint")
#: What scheduled requests wait for: a step, or a condition on metrics.
_STEP, _METRICS = "step", "metrics"


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
    ``checkpoint`` (the next), ``step`` (``next_step`` is the first), ``metrics``. ``next_expiry``
    is the time at which the first of them expires, ``last_step`` the step after which one has.

    Locking: everything changes under one condition, except that `note` and `renew` set flags
    without it and that a loop reads ``waiting``, ``next_step`` and ``awaits`` without it.
    """

    def __init__(self) -> None:
        self.waiting = False
        self.next_step = math.inf
        self.awaits: frozenset[str] = frozenset()
        self.pending: list[Request] = []
        self.next_expiry = self.last_step = math.inf
        self._taken_ids: set[str] = set()
        self._interrupted = False
        self._terms: dict[str, Term] = {}
        #: Whether metrics were logged, or conditions came, since conditions were last judged.
        self._is_unjudged = False
        #: The step of the control point at which requests were last taken.
        self._step = -1
        self._changed = threading.Condition()

    def receive(self, polled: Iterable[Request], now: float, step: int = 0) -> list[EndedRequest]:
        """Replace what is pending by all requests of the segment that can still be carried out.

        ``now`` is in seconds since 1970, ``step`` the number of updates that have been made.

        Those that were pending and are not polled any more were ended by another process.

        Returns:
            those that no training thread can take, because they were cancelled or have expired.
        """
        with self._changed:
            fresh = [request for request in polled if request.id not in self._taken_ids]
            endings = [_ending(request, now, step) for request in fresh]
            self._offer([r for r, ending in zip(fresh, endings, strict=True) if ending is None])
            self.next_expiry = min((_expiry(request) for request in self.pending), default=math.inf)
            self.last_step = min(map(_last_step, self.pending), default=math.inf)
        return [ending for ending in endings if ending is not None]

    def renew(self) -> None:
        """Note that metrics were logged: conditions are to be judged again. Takes no lock."""
        self._is_unjudged = True

    def is_reached(self, step: int, metrics: Mapping[str, Any]) -> bool:
        """Return whether a request is to be taken at this step; ``metrics`` are the newest values.

        Conditions are judged only if that can have changed anything.
        """
        if self.waiting or step >= self.next_step:
            return True
        if not self._is_unjudged or _METRICS not in self.awaits:
            return False
        # Before they are judged: what comes meanwhile is judged next time.
        self._is_unjudged = False
        terms = list(self._terms.values())
        is_met = any(metric_conditions.is_met(term, metrics, step) for term in terms)
        self._is_unjudged = self._is_unjudged or is_met
        return is_met

    def take(
        self, reached: Container[str] = (), step: int = 0, metrics: Mapping[str, Any] | None = None
    ) -> list[Request]:
        """Return the requests that can be carried out, each once, in order of arrival.

        ``reached``: the moments the loop is at, which some requests wait for (see ``awaits``);
        ``step`` and ``metrics``, the newest values, are what scheduled ones wait for.
        """
        with self._changed:
            moments = ("now", *(moment for moment in _MOMENTS if moment in reached))
            self._step = step
            ready = [
                request
                for request in self.pending
                if self._is_ready(request, moments, step, metrics or {})
            ]
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

    def _is_ready(
        self, request: Request, moments: Container[str], step: int, metrics: Mapping[str, Any]
    ) -> bool:
        moment = awaited(request)
        if moment == _STEP:
            return bool(step >= request.conditions["at_step"])
        if moment == _METRICS:
            return metric_conditions.is_met(self._terms[request.id], metrics, step)
        return moment in moments

    def _offer(self, requests: list[Request]) -> None:
        terms = {r.id: self._term(r) for r in requests if awaited(r) == _METRICS}
        fresh = terms.keys() - self._terms.keys()
        self.pending, self._terms = requests, terms
        moments = {awaited(request) for request in requests}
        self.awaits = frozenset(moments - {"now"})
        steps = [r.conditions["at_step"] for r in requests if awaited(r) == _STEP]
        self.next_step = min(steps, default=math.inf)
        self._is_unjudged = self._is_unjudged or bool(fresh)
        # A training that is held stays at the step at which requests were taken last.
        is_due = self.next_step <= self._step
        self.waiting = "now" in moments or self._interrupted or is_due
        if self.waiting:
            self._changed.notify_all()

    def _term(self, request: Request) -> Term:
        term = self._terms.get(request.id)
        return term or metric_conditions.parse(request.conditions["once"], "once")


def awaited(request: Request) -> str:
    """Return what a request waits for: ``now`` is any control point."""
    if "at_step" in request.conditions:
        return _STEP
    if preconditions.ONCE in request.conditions:
        return _METRICS
    return str(request.requested.get("when", "now"))


def _expiry(request: Request) -> float:
    return float(request.conditions.get("expires_at", math.inf))


def _last_step(request: Request) -> float:
    # What no moment has to come for is answered by the training thread, with its own step.
    waits = awaited(request) not in ("now", _STEP)
    return float(request.conditions.get("not_after_step", math.inf)) if waits else math.inf


def _ending(request: Request, now: float, step: int) -> EndedRequest | None:
    if request.cancel is not None:
        why = "It was cancelled while it waited."
        return EndedRequest(request, "cancelled", why, request.cancel)
    seen = step if step > _last_step(request) else 0
    late = preconditions.overdue(request.conditions, step=seen, now=now)
    if late:
        return EndedRequest(request, "expired", late, f"run ({control.local_actor()})")
    return None

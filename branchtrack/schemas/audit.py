"""The log of a run, its chain, and messages of its stream."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from branchtrack.schemas.bases import Answer, Moment, Query, Selection, Values, Whole


class AuditQuery(Selection):
    """Which events, oldest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    after: Whole = Field(0, description="`next` of the answer before.")


class EventsQuery(Query):
    """Where a stream begins; without it, with what happens next."""

    after: Whole | None = Field(
        None, description="The id of a message; the header Last-Event-ID says the same."
    )


class Event(Answer):
    """One line of a run's log; ``request`` is the id of its request, if it has one."""

    seq: int
    time: Moment
    actor: str
    kind: str
    ref: str
    request: str | None
    state: str
    step: int | None
    payload: Values
    reason: str
    hash: str


class CountedRefusals(Answer):
    """Refusals that were only counted."""

    branch: str
    actor: str
    kind: str
    count: int
    first_at: Moment
    last_at: Moment


class AuditPage(Answer):
    """Events, oldest first; ``next`` is always a number, so that polling returns what is new."""

    items: ClassVar[str] = "events"

    events: list[Event]
    next: int
    refused: list[CountedRefusals]


class Untold(Answer):
    """A record that is not as the last event on it says."""

    kind: str
    id: str


class Chain(Answer):
    """Whether a run's log is as it was written; ``broken_at`` is the event from which it is not."""

    run: str
    holds: bool
    broken_at: int | None
    untold: list[Untold]
    events: int
    hash: str | None

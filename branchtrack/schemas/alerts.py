"""Alerts about trainings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Moment, Number, Reason, Selection, Values, Whole


class AlertsQuery(Selection):
    """Which alerts: those after a cursor, or the newest."""

    run: str | None = Field(None, description="RUN or RUN/BRANCH; all runs without it.")
    since: Whole | None = Field(None, description="`cursor` of an answer before.")
    level: Literal["info", "warn", "error"] = Field("info", description="The least urgent.")
    limit: Annotated[int, Field(ge=1, le=5000)] = 100


class Alert(Answer):
    """What was noticed; ``proposal`` is the fork that would mend it."""

    id: str
    level: str
    kind: str
    text: str
    step: int | None
    run: str
    branch: str
    node: str | None
    metric: str | None
    value: Number | None
    proposal: Values | None
    created_at: Moment | None
    seen_at: Moment | None
    seen_by: str | None
    delivered_at: Moment | None


class AlertPage(Answer):
    """Alerts, oldest first; ``cursor`` is the ``since`` of what is new later."""

    items: ClassVar[str] = "alerts"

    alerts: list[Alert]
    cursor: int
    more: bool


class WatchBody(Body):
    """Rules by name that a run is to have, with ``reset`` on top of the defaults."""

    rules: Values = Field(default_factory=dict)
    reset: bool = False
    reason: Reason = ""


class Watch(Answer):
    """What the trainings of a run are watched for; ``changed`` are not the defaults."""

    run: str
    rules: Values
    changed: list[str]

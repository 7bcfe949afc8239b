"""Requests as pages show them: in a line, and never as waiting for a process that is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from branchtrack import control
from branchtrack.core import interventions, lifecycle
from branchtrack.core.interventions import SetSettings
from branchtrack.core.records import Refusals, Request, Segment
from branchtrack.db import refusals
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from branchtrack.web.formats import assignments
from branchtrack.web.services import services


def settled(
    database: Database,
    found: Sequence[Request],
    every: Mapping[str, Segment],
    now: float,
    again: Callable[[], Sequence[Request]],
) -> Sequence[Request]:
    """The requests, read ``again`` where some were asked of a process that will never answer.

    ``every`` are the segments of their run. It costs nothing where all is well.
    """
    hanging = [one for one in found if one.state not in lifecycle.REQUEST_ENDS]
    asked_of = [every[one.segment_id or ""] for one in hanging if one.segment_id in every]
    if all(lifecycle.segment_status(one, now) in lifecycle.LIVE for one in asked_of):
        return found
    control.expire_hanging(database, hanging[0].run_id, control.local_actor())
    return again()


def refusals_of(run_id: str, branch_id: str | None = None) -> list[Refusals]:
    """How many refusals were counted that are not listed one by one; for templates."""
    with services().database.read() as connection:
        return refusals.of_run(connection, run_id, branch_id)


def described(asked: Request) -> str:
    """A request in one line, as it was asked."""
    given: dict[str, Any] = asked.requested or asked.payload
    if asked.kind == "set":
        values = asked.requested.get("values") or asked.payload.get("values") or {}
        return SetSettings(values={}).describe() + assignments(values)
    if asked.kind == "resume":
        return _order(given)
    try:
        return str(interventions.read({"kind": asked.kind, **given}).describe())
    except InvalidInput:
        return asked.kind


def _order(given: Mapping[str, Any]) -> str:
    """An order to start a process, which is no intervention."""
    weights = "the weights of " if given.get("mode") == "weights" else ""
    name = f" as {given['name']}" if given.get("name") else ""
    settings = f" with {assignments(given['settings'])}" if given.get("settings") else ""
    return f"resume {weights}{str(given.get('node', ''))[:8]}{name}{settings}".rstrip()

"""Alerts are raised here, whoever notices: one row, one event, and the offer that goes with it.

It knows no process: the training process, a worker and a server call it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from sqlalchemy import Connection

from branchtrack.control.alerts import offers
from branchtrack.control.alerts.offers import Problem
from branchtrack.core.agents.records import Alert
from branchtrack.core.health import alerts as wording
from branchtrack.core.health.detectors import Finding
from branchtrack.core.names import storable
from branchtrack.core.records import Segment
from branchtrack.db import runs, segments
from branchtrack.db.watching import alerts

#: Characters of an error's message that an alert repeats.
_ERROR = 300


def raise_finding(connection: Connection, segment_id: str, finding: Finding, actor: str) -> Alert:
    """Raise the alert about something that was found in a metric of a segment."""
    return _raise(
        connection,
        segments.get(connection, segment_id),
        wording.words(finding),
        wording.key_of(finding, segment_id),
        Problem(finding.kind, finding.step, finding.metric, finding.after),
        actor=actor,
        value=finding.value,
    )


def raise_stall(connection: Connection, segment: Segment, seconds: float, actor: str) -> Alert:
    """Raise the alert that a training has made no update for so many seconds."""
    text = wording.stall_words(segment.step, seconds)
    key = wording.key("stall", segment.id, segment.step)
    return _raise(connection, segment, text, key, Problem("stall", segment.step), actor=actor)


def raise_crash(
    connection: Connection, segment: Segment, how: str, error: str | None, actor: str
) -> Alert:
    """Raise the alert that a training was ended by a crash; ``how`` as for `crash_key`.

    If it was NaN before, what would have mended that is offered.
    """
    text = wording.crash_words(how, segment.step, _first_line(error))
    key = crash_key(segment.id, how)
    problem = Problem("crash", segment.step)
    nan = alerts.of_segment(connection, segment.id, "nan")
    earlier = None if nan is None else nan.offer
    return _raise(connection, segment, text, key, problem, actor=actor, earlier=earlier)


def crash_key(segment_id: str, how: str) -> str:
    """Return the key of a crash; ``how``: ``failed``, ``gone`` or ``silent``.

    One that was only silent may go on, and crash later.
    """
    return wording.key("crash", segment_id, *([how] if how == "silent" else []))


def raise_disk(
    connection: Connection, segment: Segment, free: int, needed: int, actor: str
) -> Alert:
    """Raise the alert that the store's disk has ``free`` bytes and should have ``needed``."""
    text, key = wording.disk_words(free, needed), wording.key("disk", segment.id)
    problem = Problem("disk", segment.step)
    return _raise(connection, segment, text, key, problem, actor=actor, value=float(free))


def raise_script(
    connection: Connection,
    segment_id: str,
    text: str,
    *,
    level: str,
    step: int,
    metric: str | None,
    value: float | None,
    actor: str,
) -> Alert:
    """Raise an alert that a script wrote.

    The same text at the same step and of the same level is the same alert.
    """
    said = f"{level} {text}".encode("utf-8", "replace")
    digest = hashlib.blake2b(said, digest_size=8).hexdigest()
    return _raise(
        connection,
        segments.get(connection, segment_id),
        text,
        wording.key("script", segment_id, step, digest),
        Problem("script", step, metric),
        actor=actor,
        level=level,
        value=value,
    )


def _raise(
    connection: Connection,
    segment: Segment,
    text: str,
    key: str,
    problem: Problem,
    *,
    actor: str,
    level: str | None = None,
    value: float | None = None,
    earlier: dict[str, Any] | None = None,
) -> Alert:
    known = alerts.by_key(connection, segment.run_id, key)
    if known is not None:
        return known
    branch = runs.get_branch(connection, segment.branch_id)
    offer = None if earlier is None else offers.renewed(connection, earlier)
    offer = offer or offers.offer(connection, branch, problem)
    words = text if offer is None else f"{text.removesuffix('.')}: {wording.offer_words(offer)}"
    return alerts.add(
        connection,
        segment.run_id,
        branch.id,
        key=key,
        kind=problem.kind,
        level=level or wording.KINDS[problem.kind],
        text=storable(words)[: wording.LONGEST],
        step=problem.step,
        metric=problem.metric,
        # SQLite has no NaN; the text says it.
        value=value if value is not None and math.isfinite(value) else None,
        offer=offer,
        segment_id=segment.id,
        node_id=None if offer is None else offer["node"],
        actor=actor,
    )


def _first_line(error: str | None) -> str | None:
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    return lines[0][:_ERROR] if lines else None

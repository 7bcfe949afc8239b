"""The queue of launches and its workers: positions, expected ends, and why a launch waits.

It knows no terminal and no page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis.payloads_audit import moment
from branchtrack.core import lifecycle, queueing
from branchtrack.core.launchers import jobs
from branchtrack.core.records import Launch, Segment, WorkerRow
from branchtrack.db.orders import workers
from branchtrack.db.views import queue
from branchtrack.db.views.queue import QueueRow
from branchtrack.errors import InvalidInput

#: Launches that have not ended, and that have, of which one answer tells.
MOST, ENDS = 200, 20


@dataclass(frozen=True)
class QueueLine:
    """A launch; ``position`` is its place among those that wait, from 1, None if it has a worker.

    ``about`` says why it waits.
    """

    launch: Launch
    run: str
    branch: str
    segment: Segment | None
    status: str
    position: int | None = None
    about: str = ""

    @property
    def rate(self) -> float | None:
        """Return the updates a second of one that trains."""
        is_training = self.segment is not None and self.status == "running"
        return self.segment.rate if self.segment is not None and is_training else None

    @property
    def expected_end(self) -> float | None:
        """Return when it will have ended if it goes on as it does, in seconds since the epoch."""
        segment = self.segment
        if segment is None:
            return None
        return queueing.expected_end(
            segment.step, segment.max_steps, self.rate, segment.heartbeat_at
        )

    @property
    def where(self) -> str:
        """Return where a launch of a cluster is, as `jobs.words`."""
        return jobs.words(self.launch)

    @property
    def is_training(self) -> bool:
        """Return whether its process has begun to train."""
        return self.segment is not None and self.segment.started_at is not None


@dataclass(frozen=True)
class WorkerLine:
    """A worker, the launches that it has, and whether it was heard of lately."""

    row: WorkerRow
    busy: int
    is_heard: bool


@dataclass(frozen=True)
class Queue:
    """The launches with a process, those that wait, those that ended last, and the workers.

    ``total`` counts all that have not ended; beyond `MOST` the last of the queue are left out.
    ``next`` is the ``before`` of the page of earlier ends, as text; None after the last.
    """

    running: Sequence[QueueLine]
    waiting: Sequence[QueueLine]
    ended: Sequence[QueueLine]
    workers: Sequence[WorkerLine]
    total: int
    next: str | None = None


def read(connection: Connection, now: float, ends: int = ENDS, before: str | None = None) -> Queue:
    """Return the queue as it is at the time ``now``, with so many that have ended; three queries.

    Raises:
        InvalidInput: ``before`` is not the ``next`` of a page.
    """
    rows, total = queue.unfinished(connection, MOST)
    ended = queue.recent_ends(connection, ends + 1, None if before is None else _cursor(before))
    busy = Counter(row.launch.worker for row in rows if row.launch.state != "queued")
    staff = [
        WorkerLine(row, busy[row.name], now - row.heartbeat_at < lifecycle.WORKER_SILENT_AFTER)
        for row in workers.heard_of(connection)
    ]
    waiting = [row for row in rows if row.launch.state == "queued"]
    return Queue(
        running=[_line(row, now) for row in rows if row.launch.state != "queued"],
        waiting=[
            _line(row, now, position, why_waiting(row.launch, staff))
            for position, row in enumerate(waiting, 1)
        ],
        ended=[_line(row, now) for row in ended[:ends]],
        workers=staff,
        total=total,
        next=_next(ended[ends - 1].launch) if len(ended) > ends else None,
    )


def line_of(connection: Connection, launch: Launch, now: float) -> QueueLine:
    """Return the line of one launch; as many queries as `read`."""
    view = read(connection, now)
    lines = (*view.running, *view.waiting, *view.ended)
    found = next((line for line in lines if line.launch.id == launch.id), None)
    if found is not None:
        return found
    return _line(queue.row_of(connection, launch.id), now)


def why_waiting(launch: Launch, staff: Sequence[WorkerLine]) -> str:
    """Return why a queued launch is not started at once."""
    if launch.launcher is not None:
        return jobs.words(launch) + _why_unsubmitted(launch, staff)
    looking = [worker for worker in staff if worker.is_heard and worker.row.slots > 0]
    if not looking:
        return "No worker looks for launches."
    able = [worker for worker in looking if queueing.can_take(worker.row.labels, launch.labels)]
    if not able:
        return f"No worker has the labels {', '.join(launch.labels or ())}."
    if all(worker.busy >= worker.row.slots for worker in able):
        return "Every slot is taken."
    return "It starts in a moment."


def _why_unsubmitted(launch: Launch, staff: Sequence[WorkerLine]) -> str:
    if launch.job is not None or any(worker.is_heard for worker in staff):
        return ""
    return "; no worker is there to submit it"


def as_json(view: Queue) -> dict[str, Any]:
    """Return the queue as the shell and the API print it."""
    return {
        "launches": [line_as_json(line) for line in (*view.running, *view.waiting)],
        "ended": [line_as_json(line) for line in view.ended],
        "workers": [
            {
                "name": worker.row.name,
                "host": worker.row.host,
                "slots": worker.row.slots,
                "busy": worker.busy,
                "labels": worker.row.labels,
                "devices": worker.row.devices,
                "heard_of": worker.is_heard,
                "started_at": moment(worker.row.started_at),
                "heartbeat_at": moment(worker.row.heartbeat_at),
            }
            for worker in view.workers
        ],
        "total": view.total,
        "next": view.next,
    }


def line_as_json(line: QueueLine) -> dict[str, Any]:
    """Return one launch of the queue."""
    launch, segment = line.launch, line.segment
    return {
        "launch": launch.id,
        "run": line.run,
        "branch": line.branch,
        "node": launch.node_id,
        "state": launch.state,
        "status": line.status,
        "position": line.position,
        "about": line.about,
        "priority": launch.priority or 0,
        "labels": launch.labels or [],
        "worker": launch.worker,
        "device": launch.device,
        "launcher": (launch.launcher or {}).get("name"),
        "job": jobs.as_json(launch),
        "where": line.where,
        "pid": launch.pid,
        "step": segment.step if segment else None,
        "max_steps": segment.max_steps if segment else None,
        "rate": line.rate,
        "expected_end": None if line.expected_end is None else moment(line.expected_end),
        "cancel": launch.cancel,
        "error": launch.error,
        "actor": launch.actor,
        "reason": launch.reason,
        "created_at": moment(launch.created_at),
        "updated_at": moment(launch.updated_at),
    }


def _next(last: Launch) -> str:
    return f"{last.updated_at!r}~{last.seq}"


def _cursor(text: str) -> tuple[float, int]:
    moment, _, seq = text.partition("~")
    if not re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,18})?(e[+-]?[0-9]{1,2})?~[0-9]{1,18}", text):
        raise InvalidInput("before", text, "the `next` of the page before")
    return float(moment), int(seq)


def _line(row: QueueRow, now: float, position: int | None = None, about: str = "") -> QueueLine:
    has_segment = row.segment is not None and row.launch.state not in lifecycle.LAUNCH_ENDS
    status = row.launch.state
    if has_segment and row.segment is not None and row.segment.started_at is not None:
        status = lifecycle.segment_status(row.segment, now)
    elif row.launch.state == "running":
        # Its process is there, and has not taken up its branch yet.
        status = "starting"
    elif row.launch.state == "queued" and row.launch.job is not None:
        status = "submitted"
    return QueueLine(row.launch, row.run, row.branch, row.segment, status, position, about)

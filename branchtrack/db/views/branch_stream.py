"""All that happens on a branch, in order, for readers that follow it: its log and its metrics.

A process that goes back continues in another branch; whoever follows it goes along. Only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from branchtrack.core.records import Branch, Event, Node, Request
from branchtrack.db import audit, runs
from branchtrack.db import nodes as node_rows
from branchtrack.db.tables import nodes, requests, segments
from branchtrack.db.views import chart_series

#: Times that a process goes back which are followed.
_LONGEST = 100
#: Log entries and checkpoints that are read at most.
_ENTRIES, _CHECKPOINTS = 2000, 1000
#: Kinds of events that are about one branch.
_KINDS = ("request", "node", "segment")


@dataclass(frozen=True)
class Stretch:
    """A segment of a followed branch, in the order in which the segments trained."""

    segment_id: str
    branch: str
    is_last: bool


@dataclass(frozen=True)
class Point:
    """Everything logged at a step; ``stretch`` is the index of its segment."""

    stretch: int
    step: int
    time: float
    values: dict[str, float]


@dataclass(frozen=True)
class Entry:
    """An event of a followed branch with its request or node as it is now, if it is about one."""

    event: Event
    branch: str
    request: Request | None = None
    node: Node | None = None


def followed(connection: Connection, branch: Branch) -> list[Branch]:
    """Return a branch, and those in which its process continued by going back, in their order."""
    line = [branch]
    while len(line) < _LONGEST:
        query = select(requests.c.result).where(
            requests.c.branch_id == line[-1].id,
            requests.c.segment_id == line[-1].segment_id,
            requests.c.kind == "rewind",
            requests.c.state == "done",
        )
        result = connection.execute(query.order_by(requests.c.seq.desc()).limit(1)).scalar()
        following = runs.named_branch(connection, branch.run_id, (result or {}).get("branch", ""))
        if following is None or following in line:
            break
        line.append(following)
    return line


def stretches(connection: Connection, line: Sequence[Branch]) -> list[Stretch]:
    """Return the segments of followed branches."""
    ordered = []
    for branch in line:
        query = select(segments.c.id).where(segments.c.branch_id == branch.id)
        ids = connection.execute(query.order_by(segments.c.position)).scalars().all()
        ordered += [(segment_id, branch.name) for segment_id in ids]
    last = len(ordered) - 1
    return [Stretch(key, name, index == last) for index, (key, name) in enumerate(ordered)]


def points(
    connection: Connection, line: Sequence[Stretch], after: tuple[int, int], now: float
) -> list[Point]:
    """Return what was logged after a (stretch, step), one point a step, in order.

    The newest step is left out while it may still grow: until there is a later one, or it is 3 s
    old.
    """
    first, step = after
    newest = {
        stretch.segment_id: step if index == first else -1
        for index, stretch in enumerate(line)
        if index >= first
    }
    index_of = {stretch.segment_id: index for index, stretch in enumerate(line)}
    by_step: dict[tuple[int, int], tuple[float, dict[str, float]]] = {}
    for (segment_id, name), series in chart_series.all_points_after(connection, newest).items():
        rows = zip(
            series.steps.tolist(), series.values.tolist(), series.times.tolist(), strict=True
        )
        for at_step, value, time in rows:
            key = index_of[segment_id], at_step
            latest, values = by_step.get(key, (0.0, {}))
            by_step[key] = max(latest, time), {**values, name: value}
    ordered = [Point(*key, *by_step[key]) for key in sorted(by_step)]
    if ordered and line[ordered[-1].stretch].is_last and now - ordered[-1].time < 3.0:
        ordered.pop()
    return ordered


def entries(connection: Connection, line: Sequence[Branch], after: int) -> list[Entry]:
    """Return the next part of the log of followed branches after event ``after``."""
    while True:
        events = audit.after(connection, line[0].run_id, after, _ENTRIES)
        log = _of_line(connection, line, events)
        if log or len(events) < _ENTRIES:
            return log
        # All of these are about other branches.
        after = events[-1].seq


def _of_line(
    connection: Connection, line: Sequence[Branch], events: Sequence[Event]
) -> list[Entry]:
    names = {branch.id: branch.name for branch in line}
    refs = {kind: [event.ref for event in events if event.kind == kind] for kind in _KINDS}
    of_requests = {
        row.id: Request(**row._mapping)
        for row in connection.execute(select(requests).where(requests.c.id.in_(refs["request"])))
        if row.branch_id in names
    }
    of_nodes = {
        row.id: node_rows.record(row)
        for row in connection.execute(select(nodes).where(nodes.c.id.in_(refs["node"])))
        if row.branch_id in names
    }
    query = select(segments.c.id, segments.c.branch_id).where(segments.c.id.in_(refs["segment"]))
    of_segments = {row.id: row.branch_id for row in connection.execute(query)}
    log = []
    for event in events:
        request, node = of_requests.get(event.ref), of_nodes.get(event.ref)
        record = request or node
        branch_id = record.branch_id if record is not None else of_segments.get(event.ref)
        if branch_id in names:
            log.append(Entry(event, names[branch_id], request, node))
    return log


@dataclass(frozen=True)
class StoredState:
    """A node as a checkpoint to come back to."""

    id: str
    branch_id: str
    step: int
    message: str
    created_at: float


def checkpoints(connection: Connection, branch_ids: Sequence[str]) -> list[StoredState]:
    """Return the newest nodes of branches, oldest first."""
    columns = (nodes.c[name] for name in StoredState.__annotations__)
    query = select(*columns).where(nodes.c.branch_id.in_(branch_ids))
    rows = connection.execute(query.order_by(nodes.c.seq.desc()).limit(_CHECKPOINTS)).all()
    return [StoredState(*row) for row in reversed(rows)]

"""What happened on a branch as events of Interactive Training 2.

An action has a result only once its request has ended: success is never reported before it was
observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack.core import lifecycle
from branchtrack.core.records import Branch, Node, Request
from branchtrack.db.views import branch_stream
from branchtrack.db.views.branch_stream import Entry, Point, StoredState, Stretch
from branchtrack.web.protocol import state
from branchtrack.web.protocol.actions import type_of
from branchtrack.web.protocol.numbers import MOST_PARTS, Cursor

VERSION = 2
#: Events of one answer; a reader gets the others with its next one.
MOST = 10_000
_SUCCESSES = ("verified", "done")


def events(
    connection: Connection,
    line: Sequence[Branch],
    since: int,
    now: float,
    knobs: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return the events from number ``since`` on; ``knobs`` as the process has them now."""
    cursor = Cursor.before(since)
    stretches = branch_stream.stretches(connection, line)
    points = branch_stream.points(connection, stretches, (cursor.stretch, cursor.step - 1), now)
    # An entry of which only some parts were read is read again.
    entries = branch_stream.entries(connection, line, cursor.entry - bool(cursor.part))
    result: list[dict[str, Any]] = []
    for item in _in_order(entries, points):
        if isinstance(item, Point):
            cursor = Cursor(cursor.entry, cursor.part, item.stretch, item.step + 1)
            result.append(_metrics(item, stretches[item.stretch], cursor))
            continue
        for part, (name, payload) in enumerate(_of_entry(item, knobs), 1):
            if (item.event.seq, part) > (cursor.entry, cursor.part):
                cursor = Cursor(item.event.seq, part, cursor.stretch, cursor.step)
                result.append(_event(cursor, name, payload, item.event.time, item.branch))
    return result[:MOST]


def _in_order(entries: Sequence[Entry], points: Sequence[Point]) -> list[Entry | Point]:
    """Return both by time, without changing the order of either."""
    merged: list[Entry | Point] = []
    index = 0
    for point in points:
        while index < len(entries) and entries[index].event.time <= point.time:
            merged.append(entries[index])
            index += 1
        merged.append(point)
    return [*merged, *entries[index:]]


def _event(
    cursor: Cursor, name: str, payload: dict[str, Any], time: float, branch: str
) -> dict[str, Any]:
    return {
        "v": VERSION,
        "seq": cursor.number,
        "type": name,
        "payload": payload,
        "ts": time,
        "branch_id": branch,
        "round": 0,
    }


def _metrics(point: Point, stretch: Stretch, cursor: Cursor) -> dict[str, Any]:
    payload = {**point.values, "step": point.step}
    if any(name.startswith("eval") for name in point.values):
        payload["eval"] = True
    return _event(cursor, "metrics", payload, point.time, stretch.branch)


def _of_entry(entry: Entry, knobs: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the events (type, payload) that a log entry becomes; often none."""
    event = entry.event
    if event.kind == "segment":
        changed = ("status_changed", {"status": state.status_of(lifecycle.shown(event.state))})
        begins = event.state == "running" and "pid" in event.payload
        return [("knobs_registered", {"knobs": knobs}), changed] if begins else [changed]
    if entry.node is not None:
        return [("checkpoint_saved", _checkpoint(entry.node, entry.branch))]
    if entry.request is None:
        return []
    if event.state == "received" and entry.request.kind == "evaluate":
        return [("evaluate_requested", {})]
    return _of_end(entry.request, event.state) if event.state in lifecycle.REQUEST_ENDS else []


def _of_end(request: Request, end: str) -> list[tuple[str, dict[str, Any]]]:
    is_success = end in _SUCCESSES
    result = {
        "id": request.key or request.id,
        "type": type_of(request),
        "ok": is_success,
        "data": _data(request) if is_success else {},
        "error": None if is_success else f"{end}: {request.error or _WHY[end]}",
    }
    effects = _effects(request) if is_success else []
    return [*effects[: MOST_PARTS - 2], ("action_result", result)]


#: Why a request failed that ended so without an error of its own.
_WHY = {
    "ineffective": "the value was written, and the next update did not use it.",
    "superseded": "a later request took its place.",
    "cancelled": "it was taken back.",
    "expired": "nobody answered it in time.",
    "rejected": "it was refused.",
    "declined": "it was declined.",
    "failed": "it failed.",
}


def _effects(request: Request) -> list[tuple[str, dict[str, Any]]]:
    values = request.requested
    if request.kind == "set":
        changed = _data(request)["applied"]
        return [("knob_changed", {"name": name, "value": changed[name]}) for name in changed]
    if request.kind == "rewind":
        node, branch = values.get("node"), (request.result or {}).get("branch")
        loaded = {"checkpoint_id": node, "path": node, "branch_id": branch}
        return [("checkpoint_loaded", loaded)]
    if request.kind == "reset":
        return [("module_reset", {"module_name": values.get("modules")})]
    if request.kind == "note":
        return [("note", {"text": values.get("text", "")})]
    return []


def _data(request: Request) -> dict[str, Any]:
    """Return what came of a request, in the protocol's keys where it has them."""
    data: dict[str, Any] = {"request": request.id, **(request.result or {})}
    data |= {"state": request.state, "step": request.step, "node": request.node_id}
    if request.kind == "set":
        values = request.requested.get("values", {})
        data["applied"] = {name: (request.applied or {}).get(name, values[name]) for name in values}
        if len(values) == 1:
            (data["name"],) = values
            data["value"] = data["applied"][data["name"]]
    return data


def _checkpoint(node: Node, branch: str) -> dict[str, Any]:
    record = StoredState(node.id, node.branch_id, node.step, node.message, node.created_at)
    return state.checkpoint(record, branch)

"""The changes that were made along a branch's path, in order: what a replay makes again elsewhere.

What was requested of a segment after the node where the next begins is not on the path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.builtin_settings import declared
from branchtrack.core.forks.relative_values import relative_names
from branchtrack.core.interventions import has_settings
from branchtrack.core.nonfinite import metric, spelled
from branchtrack.core.records import Branch, Node, Request, Segment
from branchtrack.core.replays.changes import By, RecordedChange, moment_of
from branchtrack.core.replays.recording import Header, Recording
from branchtrack.core.shards.composition import SETTING, Composition
from branchtrack.db import runs
from branchtrack.db.storage.compositions import compositions
from branchtrack.db.views import branch_path
from branchtrack.db.views.branch_path import Stretch
from branchtrack.errors import InvalidInput

#: Metrics that branchtrack itself logs.
_OWN = "stall/"


def recording_of(
    connection: Connection, branch: Branch, *, start: Node | None = None, by: str = "step"
) -> Recording:
    """Return the changes along a branch from ``start`` on, by default from the root of its run.

    ``by`` says how their moments are written; see `core.replays.changes.moment_of`.

    Raises:
        InvalidInput: ``start`` is not on the branch's path, or ``by`` cannot be written.
    """
    if branch.segment_id is None:
        raise InvalidInput("branch", branch.name, "a branch that has trained")
    stretches = branch_path.path_of_branch(connection, branch.segment_id)
    first = start or stretches[0].nodes[0] if stretches[0].nodes else start
    if first is None:
        raise InvalidInput("branch", branch.name, "a branch that has a node")
    if start is not None:
        stretches = _from(stretches, start, branch)
    steps = _planned_steps(stretches[-1].segment)
    changes = [
        change
        for stretch in stretches
        for change in _changes(connection, _after(stretch, start), by, steps)
    ]
    run = runs.get_run(connection, branch.run_id)
    header = Header(
        run=run.name,
        branch=branch.name,
        node=first.id,
        step=first.step,
        steps=steps,
        settings=first.settings,
    )
    return Recording(header, tuple(changes))


def payload(recording: Recording) -> dict[str, Any]:
    """Return a recording as JSON: its header, and ``interventions``."""
    changes = [change.as_dict() for change in recording.changes]
    answer: dict[str, Any] = spelled({**recording.header.as_dict(), "interventions": changes})
    return answer


def replayed(change: RecordedChange, request: Request | None) -> dict[str, Any]:
    """Return a change that is made again as JSON, with its request if there is one by now."""
    return {
        "line": change.line,
        "at": change.at.as_dict(),
        "kind": change.kind,
        "requested": spelled(change.fields),
        "recorded": spelled(change.after),
        "replayed": {} if request is None else spelled(request.applied or {}),
        "request": None if request is None else request.id,
        "state": None if request is None else request.state,
        "step": None if request is None else request.step,
        "node": None if request is None else request.node_id,
        "error": None if request is None else request.error,
    }


def _from(stretches: list[Stretch], start: Node, branch: Branch) -> list[Stretch]:
    for index, stretch in enumerate(stretches):
        if any(node.id == start.id for node in stretch.nodes):
            return stretches[index:]
    raise InvalidInput("from", start.id, f"a node on the path of branch {branch.name}")


def _after(stretch: Stretch, start: Node | None) -> Stretch:
    """Return the part of a stretch after ``start``, if that is one of its nodes."""
    if start is None or start.segment_id != stretch.segment.id:
        return stretch
    later = [node for node in stretch.nodes if node.seq > start.seq]
    return replace(stretch, nodes=later, after=start)


def _planned_steps(segment: Segment) -> int | None:
    # A segment that stops early ends before its planned length, which fractions are of.
    return segment.settings.get("max_steps") or segment.max_steps


def _changes(
    connection: Connection, stretch: Stretch, by: str, steps: int | None
) -> Iterator[RecordedChange]:
    """Yield the changes of a stretch in order."""
    made = {node.id: node for node in stretch.nodes}
    carried = stretch.carried_out(connection)
    changes = [
        *_of_forks(stretch, by, steps),
        *_of_script(stretch, {request.step for request in carried}, by, steps),
    ]
    values = {request.id: (request.applied or {}).get(SETTING) for request in carried}
    shards = compositions(connection, values.values())
    for request in carried:
        node = made.get(request.node_id or "") or _before(stretch, request)
        fields = _fields(request, stretch.segment, shards.get(values[request.id]))
        changes.append(_of_request(request, node, fields, by, steps))
    yield from (change for _step, _seq, change in sorted(changes, key=lambda entry: entry[:2]))


def _of_forks(
    stretch: Stretch, by: str, steps: int | None
) -> Iterator[tuple[int, int, RecordedChange]]:
    """Yield what a resume or a rewind has set, as if it had been set there."""
    for node in stretch.nodes:
        values = {change.name: change.after for change in node.changes}
        if node.kind == "fork" and values:
            yield node.step, node.seq, _of_node(node, values, "resume", by, steps)


def _of_script(
    stretch: Stretch, requested: set[int | None], by: str, steps: int | None
) -> Iterator[tuple[int, int, RecordedChange]]:
    """Yield the changes that the loop made itself: nobody requested anything at their steps."""
    for node in stretch.nodes:
        values = {change.name: change.after for change in node.changes if change.step is None}
        if values and node.kind != "fork" and node.step not in requested:
            yield node.step, node.seq, _of_node(node, values, "script", by, steps)


def _of_node(
    node: Node, values: dict[str, Any], maker: By, by: str, steps: int | None
) -> RecordedChange:
    before = {change.name: change.before for change in node.changes if change.name in values}
    metrics = _metrics(node)
    return RecordedChange(
        at=moment_of(node.step, by, steps, metrics),
        kind="set",
        fields={"values": values},
        by=maker,
        reason=node.message,
        actor=node.actor,
        before=before,
        after=values,
        metrics=metrics,
    )


def _of_request(
    request: Request, node: Node | None, fields: dict[str, Any], by: str, steps: int | None
) -> tuple[int, int, RecordedChange]:
    assert request.step is not None
    metrics = {} if node is None else _metrics(node)
    change = RecordedChange(
        at=moment_of(request.step, by, steps, metrics),
        kind=request.kind,
        fields=fields,
        reason=request.reason,
        actor=request.actor,
        before=request.before or {},
        after=request.applied or {},
        metrics=metrics,
    )
    return request.step, 0 if node is None else node.seq, change


def _fields(request: Request, segment: Segment, after: Composition | None) -> dict[str, Any]:
    """Return what was requested, with relative values as they were asked for.

    Of shards that were added, ``after`` has the content that a replay has to find again.
    """
    fields = dict(request.requested)
    if after is not None and (added := fields.get("add")):
        known = {shard.name: shard.fingerprint for shard in after.shards}
        fields["fingerprints"] = {name: known[name] for name in added if name in known}
    sent = request.payload.get("values")
    if has_settings(request.kind) and isinstance(sent, dict):
        names = relative_names(sent, declared(segment.declared))
        fields["values"] = {**fields["values"], **{name: sent[name] for name in names}}
    return fields


def _before(stretch: Stretch, request: Request) -> Node | None:
    """Return the newest node before a request whose own node was not committed."""
    earlier = [n for n in stretch.nodes if request.step is not None and n.step <= request.step]
    return earlier[-1] if earlier else None


def _metrics(node: Node) -> dict[str, Any]:
    values = {name: value for name, value in node.metrics.items() if not name.startswith(_OWN)}
    return {name: metric(value) for name, value in values.items() if value is not None}

"""The changes of a recording as scheduled requests: to a live branch, or to a segment to come.

Each has a key of its recording, line and segment, so that a recording is sent to a segment once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control.launch import create_launch
from branchtrack.control.replays.fitting import FittedChange, FittedRecording, fit
from branchtrack.control.request_checks import live_segment
from branchtrack.control.text import clean_text, shortened
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.records import Branch, Launch, Node, Request, Segment
from branchtrack.core.replays.changes import RecordedChange
from branchtrack.core.replays.recording import Recording
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.views.branch_path import Stretch, path_of_branch, path_to

_LONGEST_REASON = 2000


@dataclass(frozen=True)
class SentChange:
    """A change with the request that asks for it; None in a dry run."""

    change: RecordedChange
    request: Request | None


@dataclass(frozen=True)
class Sent:
    """What became of a recording: what was ``sent`` now or before, and what was left out.

    ``done`` was made before on the path, ``passed`` is past its step.
    """

    sent: tuple[SentChange, ...]
    done: tuple[RecordedChange, ...] = ()
    passed: tuple[RecordedChange, ...] = ()


def send_replay(
    database: Database,
    branch_ref: str,
    recording: Recording,
    *,
    actor: Actor | str,
    reason: str = "",
    skip_passed: bool = False,
    dry_run: bool = False,
) -> Sent:
    """Ask the process that trains a branch for all changes of a recording, or for none.

    Those that this segment was asked for before are not asked for again, but returned as they are.

    Raises:
        NotFound: no such branch. NotLive: no process trains it. InvalidInput: a change does not
        fit, or its step is past and not ``skip_passed``. Forbidden, RateLimited: the actor may not.
    """
    who, why = actors.of(actor), clean_text("reason", reason)
    with database.transaction() as connection:
        branch = runs.find_branch(connection, branch_ref)
        audit.lock(connection, branch.run_id)
        segment = live_segment(connection, branch)
        earlier = asked_before(connection, recording, [segment.id])
        path = path_of_branch(connection, segment.id)
        done = {*earlier, *carried_out(connection, recording, path)}
        fitted = fit(recording, segment, done=done, skip_passed=skip_passed)
        authorise(connection, branch, fitted, who, why)
        fresh = {} if dry_run else address(connection, branch, fitted, who, why)
        by_line = {**earlier, **fresh}
        made = tuple(change for change in fitted.done if change.line not in earlier)
        listed = [change for change in recording.requested if change not in (*made, *fitted.passed)]
        sent = tuple(SentChange(change, by_line.get(change.line)) for change in listed)
        return Sent(sent, made, fitted.passed)


def launch_replay(
    database: Database,
    store: Store,
    node_ref: str,
    recording: Recording,
    *,
    actor: Actor | str,
    reason: str = "",
    skip_passed: bool = False,
    **order: Any,
) -> tuple[Launch, Sent]:
    """Queue a process that resumes a node, with all changes of a recording asked for beforehand.

    ``order`` as for `control.create_launch`.

    Raises:
        InvalidInput: a change does not fit the node. Others as `create_launch`.
    """
    who, why = actors.of(actor), clean_text("reason", reason)
    fitted = _fit_node(database, node_ref, recording, skip_passed=skip_passed)
    fresh: dict[int, Request] = {}

    def ask(connection: Connection, launch: Launch) -> None:
        branch = runs.get_branch(connection, launch.branch_id)
        authorise(connection, branch, fitted, who, why)
        fresh.update(address(connection, branch, fitted, who, why))

    message = why or replayed_from(recording)
    launch = create_launch(database, store, node_ref, actor=who, reason=message, along=ask, **order)
    sent = tuple(SentChange(entry.change, fresh[entry.change.line]) for entry in fitted.changes)
    return launch, Sent(sent, fitted.done, fitted.passed)


def check_replay(
    database: Database, node_ref: str, recording: Recording, *, skip_passed: bool = False
) -> Sent:
    """Return what `launch_replay` would ask for, if it fits; nothing is stored.

    Raises:
        InvalidInput: a change does not fit. NotFound: no such node.
    """
    fitted = _fit_node(database, node_ref, recording, skip_passed=skip_passed)
    sent = tuple(SentChange(entry.change, None) for entry in fitted.changes)
    return Sent(sent, fitted.done, fitted.passed)


def _fit_node(
    database: Database, node_ref: str, recording: Recording, *, skip_passed: bool
) -> FittedRecording:
    """Return a recording fitted to a training that resumes a node; nothing is stored.

    Raises:
        InvalidInput: a change does not fit. NotFound: no such node.
    """
    with database.read() as connection:
        node = nodes.find(connection, node_ref)
        segment = segments.get(connection, node.segment_id)
        done = carried_out(connection, recording, path_to(connection, node))
        return fit(recording, at_node(segment, node), done=done, skip_passed=skip_passed)


def at_node(segment: Segment, node: Node) -> Segment:
    """Return a segment as a training that resumes one of its nodes would declare itself."""
    length = node.settings.get("max_steps") or segment.max_steps
    return replace(segment, step=node.step, settings=node.settings, max_steps=length)


def authorise(
    connection: Connection, branch: Branch, fitted: FittedRecording, who: Actor, reason: str
) -> None:
    """Check whether an actor may ask for all the changes.

    Raises:
        Forbidden, RateLimited, InvalidInput.
    """
    actors.check(who, "request")
    actors.check_reason(who, reason)
    for entry in fitted.changes:
        intervention = entry.checked.intervention
        actors.check(who, "request", intervention.names_of(intervention.model_dump()))
    if who.limit is not None and who.token_id is not None and fitted.changes:
        count = requests.count_recent(connection, branch.run_id, who.token_id)
        actors.check_limit(who, count + len(fitted.changes) - 1)


def address(
    connection: Connection, branch: Branch, fitted: FittedRecording, who: Actor, reason: str
) -> dict[int, Request]:
    """Store the changes as accepted requests to the newest segment of a branch, by line."""
    origin = replayed_from(fitted.recording)
    return {
        entry.change.line: _add(
            connection, branch, entry, who, _reason(entry.change, reason, origin), fitted.recording
        )
        for entry in fitted.changes
    }


def _add(
    connection: Connection,
    branch: Branch,
    entry: FittedChange,
    who: Actor,
    reason: str,
    recording: Recording,
) -> Request:
    requested = entry.checked.intervention.model_dump(exclude={"kind"}, exclude_defaults=True)
    request = requests.add(
        connection,
        branch,
        kind=entry.change.kind,
        payload=shortened(entry.change.fields),
        requested=requested,
        actor=who,
        reason=reason,
        key=f"{_prefix(recording)}{entry.change.line}:{branch.segment_id}",
        conditions=entry.checked.conditions,
        step=segments.get(connection, branch.segment_id or "").step,
    )
    return requests.move(connection, request.id, "accepted", actor=who.label)


def replayed_from(recording: Recording) -> str:
    """Return where a recording is from, in words."""
    header = recording.header
    name = f"{header.run}/{header.branch}" if header.run and header.branch else "a recording"
    return f"replayed from {name}"


def _reason(change: RecordedChange, reason: str, origin: str) -> str:
    text = reason or change.reason
    limit = _LONGEST_REASON - len(origin) - 3
    return f"{text[:limit]} ({origin})" if text else origin


def asked_before(
    connection: Connection, recording: Recording, segment_ids: Iterable[str]
) -> dict[int, Request]:
    """Return the requests that some segments got from this recording, by line."""
    prefix = _prefix(recording)
    rows = requests.with_keys(connection, list(segment_ids), prefix)
    return {int((row.key or "").split(":")[2]): row for row in rows}


def carried_out(connection: Connection, recording: Recording, path: Iterable[Stretch]) -> set[int]:
    """Return the lines of a recording whose changes were made on a path."""
    prefix = _prefix(recording)
    return {
        int(request.key.split(":")[2])
        for stretch in path
        for request in stretch.carried_out(connection)
        if request.key is not None and request.key.startswith(prefix)
    }


def _prefix(recording: Recording) -> str:
    return f"replay:{recording.digest[:32]}:"

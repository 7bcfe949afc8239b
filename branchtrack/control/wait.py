"""Waiting for the outcome of a request, and noticing that there will be none."""

from __future__ import annotations

import time
from collections.abc import Callable

from branchtrack.control.inbox import expire_unanswered, successor
from branchtrack.control.text import local_actor
from branchtrack.core import lifecycle
from branchtrack.core.interventions import awaited_by
from branchtrack.core.preconditions import awaited_words
from branchtrack.core.records import Request, Segment
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.notices.listener import Subscription
from branchtrack.errors import NotAnswered, NotLive, StorageError

#: Seconds between two looks, and while the database tells of each move of the request.
_POLL, _LISTENING_POLL = 0.05, 0.25


def wait(
    database: Database,
    request_id: str,
    timeout: float = 60.0,
    watch: Callable[[Request], None] | None = None,
) -> Request:
    """Wait until a request has ended; ``watch`` is called at every look.

    A change of settings while the run is paused is returned as ``applied``: its effect cannot be
    seen before the next update.

    Raises:
        NotAnswered: ``timeout`` seconds passed. NotLive: the training process is gone.
    """
    subscription = database.subscribe(request_id)
    try:
        return _wait(database, request_id, timeout, watch, subscription)
    finally:
        subscription.release()


def _wait(
    database: Database,
    request_id: str,
    timeout: float,
    watch: Callable[[Request], None] | None,
    subscription: Subscription,
) -> Request:
    deadline = time.monotonic() + timeout
    while True:
        try:
            request, segment, following = _look(database, request_id)
        except StorageError as error:
            # The request is recorded: the database may answer again.
            if time.monotonic() > deadline:
                raise _unreadable(request_id, timeout, error) from error
            time.sleep(_LISTENING_POLL)
            continue
        if request.state in lifecycle.REQUEST_ENDS:
            return request
        if segment is None:
            if watch is not None:
                watch(request)
            _check_time(request, deadline, timeout)
            subscription.rest(_POLL, _LISTENING_POLL)
            continue
        awaits_update = awaited_by(request.kind, request.requested) == "update"
        is_held = request.state == "applied" and segment.status == "paused" and following is None
        if is_held and awaits_update:
            return request
        if watch is not None:
            watch(request)
        status = lifecycle.segment_status(segment, time.time())
        # A rewind's next segment, or one that was asked for changes before its process began.
        begins = status == "waiting"
        if status not in lifecycle.LIVE and not begins:
            return _gone(database, request, status)
        _check_time(request, deadline, timeout)
        subscription.rest(_POLL, _LISTENING_POLL)


def _look(database: Database, request_id: str) -> tuple[Request, Segment | None, str | None]:
    """Return a request, the segment that is to answer it, and that if it is another's successor."""
    with database.read() as connection:
        request = requests.get(connection, request_id)
        is_over = request.state in lifecycle.REQUEST_ENDS
        if is_over or request.state == "proposed" or request.segment_id is None:
            return request, None, None
        following = successor(connection, request)
        return request, segments.get(connection, following or request.segment_id), following


def _unreadable(request_id: str, timeout: float, error: StorageError) -> NotAnswered:
    return NotAnswered(
        f"Request {request_id} is recorded, and its answer could not be read within {timeout:g} s: "
        f"{error.what}",
        safe="It stays recorded and is carried out, or has been.",
        fix="Look again once the database answers: `branchtrack requests RUN` lists it.",
        request=request_id,
        waited=timeout,
    )


def _check_time(request: Request, deadline: float, timeout: float) -> None:
    if time.monotonic() <= deadline:
        return
    is_proposed = request.state == "proposed"
    waits = awaited_words(request.conditions) if request.state == "accepted" else ""
    raise NotAnswered(
        f"Request {request.id} is {request.state} and has no answer after {timeout:g} s."
        + (f" It {waits}." if waits else ""),
        safe="It stays recorded and still waits for a decision."
        if is_proposed
        else "It stays recorded and will still be carried out.",
        fix=f"Somebody has to decide: `branchtrack approve {request.id}`."
        if is_proposed
        else f"Look again later, or cancel it: `branchtrack cancel {request.id}`."
        if waits
        else "A long step or evaluation delays answers; look again later, or cancel it: "
        f"`branchtrack cancel {request.id}`.",
        request=request.id,
        waited=timeout,
    )


def _gone(database: Database, request: Request, status: str) -> Request:
    with database.transaction() as connection:
        latest = requests.get(connection, request.id)
        if latest.state in lifecycle.REQUEST_ENDS:
            return latest
        expire_unanswered(
            connection, request.segment_id or "", local_actor(), f"The run is {status}."
        )
    raise NotLive(
        f"The training process ended ({status}) before it answered request {request.id}.",
        safe="The request stays recorded; it will not be carried out.",
        fix="Resume a node of the branch to continue.",
        branch=request.branch_id,
        status=status,
    )

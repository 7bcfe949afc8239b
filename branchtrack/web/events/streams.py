"""Event streams: the events and the progress of a run, from a cursor on.

On our own server a stream costs no thread: it is handed over to the one that writes to all of them
(`pump`). On other servers the same answer is a plain generator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app, request

from branchtrack.db import audit, runs
from branchtrack.errors import InvalidInput
from branchtrack.web.access import guards, identity
from branchtrack.web.events import pump
from branchtrack.web.events.followers import Cursor as Cursor
from branchtrack.web.events.followers import Follower as Follower
from branchtrack.web.events.pump import Stream, StreamSlots
from branchtrack.web.services import services

blueprint = Blueprint("streams", __name__)
#: The key in the WSGI environment of a function that takes over a `Stream`, if the server has one.
TAKE_OVER = "branchtrack.take_over"
_RETRY_AFTER = 5
#: Metrics of one stream.
_METRICS = 16
_KEY = "branchtrack-streams"


@blueprint.record
def _prepare(state: Any) -> None:
    state.app.extensions[_KEY] = StreamSlots()


def slots(app: Flask) -> StreamSlots:
    """Return the slots for streams of an application."""
    return cast(StreamSlots, app.extensions[_KEY])


def close_all(app: Flask) -> None:
    """End every open stream; its readers reconnect by themselves."""
    slots(app).closing.set()


@blueprint.get("/runs/<run>/events")
def events(run: str) -> Response:
    """Return the stream of a run; 503 if too many are open, and the page retries by itself."""
    database = services().database
    with database.read() as connection:
        run_record = runs.find_run(connection, run)
        newest = audit.last_id(connection, run_record.id)
    last_id = request.headers.get("Last-Event-ID") or request.args.get("after", "")
    cursor = Cursor.parse(last_id) if last_id else Cursor(newest)
    if cursor is None:
        raise InvalidInput("after", last_id, "the id of a message of this stream, or none")
    metrics = [name for name in request.args.getlist("metric") if name] or ["loss"]
    if len(metrics) > _METRICS:
        raise InvalidInput("metric", ", ".join(metrics), f"at most {_METRICS} metrics")
    return stream(Follower(database, run_record, metrics, cursor))


def stream(follower: pump.Reader) -> Response:
    """Return the stream of what a follower sees.

    Raises:
        Refused: too many streams are open.
    """
    stream_slot = slots(current_app).acquire(guards.caller())
    if stream_slot is None:
        raise guards.Refused(
            "Too many streams are open.",
            safe="Nothing was read or changed.",
            fix=f"Try again in {_RETRY_AFTER} s.",
            status=503,
            retry_after=_RETRY_AFTER,
        )
    return _answer(Stream(follower, guards.actor(), stream_slot))


def _answer(stream: Stream) -> Response:
    take_over = request.environ.get(TAKE_OVER)
    if take_over is not None and request.method == "GET":
        take_over(stream)
        # Not a list: its length would be taken for the length of the whole answer.
        response = Response(iter([pump.OPEN]), mimetype="text/event-stream")
    else:
        left = request.environ.get("waitress.client_disconnected", lambda: False)
        response = Response(_messages(stream, left), mimetype="text/event-stream")
        response.call_on_close(stream.slot.release)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _messages(stream: Stream, has_left: Callable[[], bool]) -> Iterator[str]:
    """Yield the messages of a stream that has a thread of its own."""
    database, closing = stream.follower.database, stream.slot.slots.closing
    yield pump.OPEN
    spoken = time.monotonic()
    while not closing.is_set() and not has_left():
        if not identity.is_in_force(database, stream.actor):
            return
        text = pump.as_messages(stream.follower)
        if text or time.monotonic() - spoken > pump.HEARTBEAT:
            yield text or pump.ALIVE
            spoken = time.monotonic()
        closing.wait(pump.POLL)

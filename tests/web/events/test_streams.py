"""Event streams: from a cursor on, resumable, few, and ended when the server is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from branchtrack.db import audit
from branchtrack.web.events import pump, streams
from branchtrack.web.events.streams import Cursor
from tests.web.conftest import Site

PATH = "/runs/digits/events"


def messages(own: Site, path: str = PATH, **headers: str) -> Iterator[str]:
    answer = own.client.get(path, headers=headers, buffered=False)
    assert answer.status_code == 200
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    try:
        for chunk in answer.response:
            yield chunk.decode() if isinstance(chunk, bytes) else chunk
    finally:
        answer.close()


def test_messages_bear_the_id_that_resumes_them(own: Site) -> None:
    with own.database.read() as connection:
        newest = audit.last_id(connection)
    stream = messages(own, f"{PATH}?after={newest}")
    assert next(stream) == ": open\n\n"
    own.lines["main"].commit("checkpoint", 41)
    first = next(stream).splitlines()
    assert first[1] == "event: changed"
    cursor = Cursor.parse(first[0].removeprefix("id: "))
    assert cursor is not None and cursor.event > newest
    assert json.loads(first[2].removeprefix("data: "))["kinds"] == ["node"]
    stream.close()


def test_the_header_of_a_browser_that_comes_back_wins_over_the_address(own: Site) -> None:
    with own.database.read() as connection:
        newest = audit.last_id(connection)
    stream = messages(own, f"{PATH}?after=0", **{"Last-Event-ID": str(Cursor(newest))})
    next(stream)
    assert "event: progress" in next(stream)
    stream.close()


def test_a_quiet_stream_shows_that_it_lives(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "HEARTBEAT", 0.0)
    monkeypatch.setattr(pump, "POLL", 0.001)
    stream = messages(own)
    assert any(text == ": still here\n\n" for text in (next(stream) for _ in range(5)))
    stream.close()


@pytest.mark.parametrize("limit", ["MOST", "MOST_EACH"])
def test_too_many_streams_are_sent_away_for_a_while(
    own: Site, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(pump, limit, 3)
    opened = [messages(own) for _ in range(3)]
    for stream in opened:
        next(stream)
    answer = own.client.get(PATH)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    opened.pop().close()
    again = messages(own)
    assert next(again) == ": open\n\n"
    for stream in (*opened, again):
        stream.close()


def test_a_stream_of_an_unknown_run_is_refused(own: Site) -> None:
    assert own.client.get("/runs/nope/events").status_code == 404


def test_a_look_that_nobody_stays_for_takes_no_place(own: Site) -> None:
    for _ in range(3):
        assert own.client.head(PATH).status_code == 200
        own.client.get(PATH, buffered=False).close()
    assert streams.slots(own.app).acquire("somebody") is not None
    assert sum(streams.slots(own.app)._taken.values()) == 1

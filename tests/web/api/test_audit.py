"""The log of a run: its chain, and its events as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from branchtrack.db import tables
from branchtrack.web.access import guards
from branchtrack.web.events import pump, streams
from tests.web.api.test_curves import ask
from tests.web.conftest import Site

PATH = "/api/v1/runs/digits/events"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "POLL", 0.001)


def events(own: Site, path: str = PATH, **headers: str) -> Iterator[dict[str, Any]]:
    answer = own.client.get(path, headers=headers, buffered=False)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    try:
        for chunk in answer.response:
            for message in bytes(chunk).decode().split("\n\n"):
                lines = dict(line.split(": ", 1) for line in message.splitlines() if line[0] != ":")
                if lines:
                    data = json.loads(lines["data"])
                    assert (lines["event"], lines["id"]) == ("event", str(data["seq"]))
                    yield data
    finally:
        answer.close()


def test_a_stream_has_the_events_of_the_audit(own: Site) -> None:
    listed = ask(own, "runs/digits/audit")["events"]
    stream = events(own, f"{PATH}?after=0")
    assert [next(stream) for _ in listed] == listed
    stream.close()
    stream = events(own, **{"Last-Event-ID": str(listed[1]["seq"])})
    assert next(stream) == listed[2]
    stream.close()


def test_a_stream_without_a_cursor_begins_with_what_happens_next(own: Site) -> None:
    newest = ask(own, "runs/digits/audit/chain")["events"]
    answer = own.client.get(PATH, buffered=False)
    own.lines["main"].commit("checkpoint", 41)
    chunks = (bytes(chunk).decode() for chunk in answer.response)
    assert next(chunks) == pump.OPEN and next(chunks).startswith(f"id: {newest + 1}\n")
    answer.close()


@pytest.mark.parametrize("after", ["x", "-1", "999999"])
def test_a_cursor_that_there_is_not_is_refused(own: Site, after: str) -> None:
    for query, headers in ((f"?after={after}", {}), ("", {"Last-Event-ID": after})):
        answer = own.client.get(PATH + query, headers=headers)
        assert answer.status_code == 422 and answer.get_json()["error"]["field"] == "after"


def test_streams_beyond_the_limit_are_refused_with_a_time_to_come_back(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "MOST_EACH", 0)
    answer = own.client.get(PATH)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["error"]["type"] == guards.Refused.__name__
    assert streams.slots(own.app).acquire("another") is None


def test_a_changed_event_breaks_the_chain(own: Site) -> None:
    chain = ask(own, "runs/digits/audit/chain")
    assert chain["holds"] and chain["broken_at"] is None and chain["hash"]
    with own.database.transaction() as connection:
        second = tables.events.update().where(tables.events.c.seq == 2)
        connection.execute(second.values(reason="changed"))
    chain = ask(own, "runs/digits/audit/chain")
    assert (chain["holds"], chain["broken_at"]) == (False, 2)

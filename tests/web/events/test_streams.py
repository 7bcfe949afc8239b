"""Event streams: from a cursor on, resumable, few, and ended when the server is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from branchtrack.db import audit, requests
from branchtrack.web.events import pump, streams
from branchtrack.web.events.streams import Cursor, Follower
from tests.web.conftest import Site

PATH = "/runs/digits/events"


def follower(own: Site, cursor: Cursor | None = None) -> Follower:
    main = own.lines["main"]
    with own.database.read() as connection:
        newest = audit.last_id(connection)
    start = cursor or Cursor(newest, {main.segment.id: 40})
    return Follower(own.database, main.grower.run, "loss", start)


def named(messages: list[tuple[str, dict[str, Any]]], name: str) -> list[dict[str, Any]]:
    return [data for one, data in messages if one == name]


def test_a_cursor_is_read_back_from_its_text() -> None:
    for cursor in (Cursor(7), Cursor(0, {"ab12": 40, "cd34": -1})):
        assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "1~", "1~a", "1~a:b", "~", "1~a:1:2"])
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert Cursor.parse(text) is None


def test_the_first_look_says_where_branches_stand_and_nothing_old(own: Site) -> None:
    messages = follower(own).look()
    assert named(messages, "changed") == []
    assert named(messages, "progress") == [
        {"heads": {"main": {"step": 40, "rate": 11.8}}, "points": {}}
    ]


def test_nothing_is_said_while_nothing_happens(own: Site) -> None:
    one = follower(own)
    one.look()
    assert one.look() == []


def test_a_new_node_is_told_once(own: Site) -> None:
    one = follower(own)
    one.look()
    own.lines["main"].commit("intervention", 41, {"lr": 1e-4}, "too hot")
    told = named(one.look(), "changed")
    assert [data["kinds"] for data in told] == [["node"]]
    assert told[0]["say"] == "New intervention node changing lr at step 41"
    assert named(one.look(), "changed") == []


def test_new_points_are_sent_with_gaps_as_null(own: Site) -> None:
    one = follower(own)
    one.look()
    own.lines["main"].log("loss", [41, 42, 43], [0.5, math.nan, 0.25])
    own.lines["main"].beat()
    told = named(one.look(), "progress")[0]
    assert told["points"] == {"main": [(41, 0.5), (42, None), (43, 0.25)]}
    assert told["heads"]["main"]["step"] == 43


def test_points_that_are_sealed_meanwhile_are_not_missed(own: Site) -> None:
    one = follower(own)
    one.look()
    own.lines["main"].log("loss", list(range(41, 3041)), [1.0] * 3000)
    told = named(one.look(), "progress")[0]
    assert [step for step, _ in told["points"]["main"]] == list(range(41, 3041))


def test_a_stream_goes_on_from_the_id_of_its_last_message(own: Site) -> None:
    one = follower(own)
    one.look()
    kept = str(one.cursor)
    own.lines["main"].log("loss", [41], [0.5])
    own.lines["main"].commit("checkpoint", 41)
    again = follower(own, Cursor.parse(kept)).look()
    assert named(again, "changed")[0]["kinds"] == ["node"]
    assert named(again, "progress")[0]["points"] == {"main": [(41, 0.5)]}


def test_the_last_points_of_a_branch_that_ended_are_sent(own: Site) -> None:
    one = follower(own)
    one.look()
    own.lines["main"].log("loss", [41], [0.5])
    own.lines["main"].end("finished")
    messages = one.look()
    assert named(messages, "progress")[0]["points"] == {"main": [(41, 0.5)]}
    assert named(messages, "changed")[0]["say"] == "main is finished"


def test_a_branch_that_stops_answering_is_told(own: Site) -> None:
    one = follower(own)
    one.look()
    with own.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE segments SET heartbeat_at = 1")
    assert named(one.look(), "changed")[0]["say"] == "main is lost"
    assert named(one.look(), "changed") == []


def test_several_changes_are_said_in_one_line(own: Site) -> None:
    one = follower(own)
    one.look()
    own.lines["main"].ask({"kind": "checkpoint"}, "")
    assert named(one.look(), "changed")[0]["say"] == (
        "A request is waiting for the trainer and 1 more change"
    )


def test_a_cursor_of_another_run_finds_nothing_of_it(own: Site) -> None:
    one = follower(own, Cursor(10**6, {"0000000000000000": 3}))
    assert named(one.look(), "changed") == []


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


def test_an_unanswered_request_is_told_when_it_moves(own: Site) -> None:
    main = own.lines["main"]
    main.ask({"kind": "set", "values": {"lr": 1e-4}}, "")
    one = follower(own)
    one.look()
    with own.database.transaction() as connection:
        waiting = requests.waiting(connection, main.segment.id)[0]
        requests.move(connection, waiting.id, "applied", actor="trainer", step=41)
    assert named(one.look(), "changed")[0]["say"] == "A request is applied"


def test_a_look_that_nobody_stays_for_takes_no_place(own: Site) -> None:
    for _ in range(3):
        assert own.client.head(PATH).status_code == 200
        own.client.get(PATH, buffered=False).close()
    assert streams.slots(own.app).acquire("somebody") is not None
    assert sum(streams.slots(own.app)._taken.values()) == 1

"""What is new of a run since a reader last looked, and where the next look goes on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.db import audit, requests
from branchtrack.web.events.followers import Cursor, Follower
from tests.web.conftest import Site


def follower(own: Site, cursor: Cursor | None = None) -> Follower:
    main = own.lines["main"]
    with own.database.read() as connection:
        newest = audit.last_id(connection)
    start = cursor or Cursor(newest, {main.segment.id: (40,)})
    return Follower(own.database, main.grower.run, ["loss"], start)


def named(messages: list[tuple[str, dict[str, Any]]], name: str) -> list[dict[str, Any]]:
    return [data for message, data in messages if message == name]


def test_a_cursor_is_read_back_from_its_text() -> None:
    for cursor in (Cursor(7), Cursor(0, {"ab12": (40, 3), "cd34": (-1,)})):
        assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "1~", "1~a", "1~a:b", "~", "1~a:1:"])
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert Cursor.parse(text) is None


def test_the_first_look_says_where_branches_stand_and_nothing_old(own: Site) -> None:
    messages = follower(own).look()
    assert named(messages, "changed") == []
    assert named(messages, "progress") == [
        {"heads": {"main": {"step": 40, "rate": 11.8}}, "points": {}}
    ]


def test_nothing_is_said_while_nothing_happens(own: Site) -> None:
    reader = follower(own)
    reader.look()
    assert reader.look() == []


def test_a_new_node_is_told_once(own: Site) -> None:
    reader = follower(own)
    reader.look()
    own.lines["main"].commit("intervention", 41, {"lr": 1e-4}, "too hot")
    changed = named(reader.look(), "changed")
    assert [data["kinds"] for data in changed] == [["node"]]
    assert changed[0]["say"] == "New intervention node changing lr at step 41"
    assert named(reader.look(), "changed") == []


def test_new_points_are_sent_with_gaps_as_null(own: Site) -> None:
    reader = follower(own)
    reader.look()
    own.lines["main"].log("loss", [41, 42, 43], [0.5, math.nan, 0.25])
    own.lines["main"].beat()
    progress = named(reader.look(), "progress")[0]
    assert progress["points"] == {"main": {"loss": [(41, 0.5), (42, None), (43, 0.25)]}}
    assert progress["heads"]["main"]["step"] == 43


def test_points_that_are_sealed_meanwhile_are_not_missed(own: Site) -> None:
    reader = follower(own)
    reader.look()
    own.lines["main"].log("loss", list(range(41, 3041)), [1.0] * 3000)
    progress = named(reader.look(), "progress")[0]
    assert [step for step, _ in progress["points"]["main"]["loss"]] == list(range(41, 3041))


def test_a_stream_goes_on_from_the_id_of_its_last_message(own: Site) -> None:
    reader = follower(own)
    reader.look()
    cursor = str(reader.cursor)
    own.lines["main"].log("loss", [41], [0.5])
    own.lines["main"].commit("checkpoint", 41)
    again = follower(own, Cursor.parse(cursor)).look()
    assert named(again, "changed")[0]["kinds"] == ["node"]
    assert named(again, "progress")[0]["points"] == {"main": {"loss": [(41, 0.5)]}}


def test_the_last_points_of_a_branch_that_ended_are_sent(own: Site) -> None:
    reader = follower(own)
    reader.look()
    own.lines["main"].log("loss", [41], [0.5])
    own.lines["main"].end("finished")
    messages = reader.look()
    assert named(messages, "progress")[0]["points"] == {"main": {"loss": [(41, 0.5)]}}
    assert named(messages, "changed")[0]["say"] == "main is finished"


def test_a_branch_that_stops_answering_is_told(own: Site) -> None:
    reader = follower(own)
    reader.look()
    with own.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE segments SET heartbeat_at = 1")
    assert named(reader.look(), "changed")[0]["say"] == "main is lost"
    assert named(reader.look(), "changed") == []


def test_several_changes_are_said_in_one_line(own: Site) -> None:
    reader = follower(own)
    reader.look()
    own.lines["main"].ask({"kind": "checkpoint"}, "")
    assert named(reader.look(), "changed")[0]["say"] == (
        "A request is waiting for the trainer and 1 more change"
    )


def test_a_cursor_of_another_run_finds_nothing_of_it(own: Site) -> None:
    reader = follower(own, Cursor(10**6, {"0000000000000000": (3,)}))
    assert named(reader.look(), "changed") == []


def test_an_unanswered_request_is_told_when_it_moves(own: Site) -> None:
    main = own.lines["main"]
    main.ask({"kind": "set", "values": {"lr": 1e-4}}, "")
    reader = follower(own)
    reader.look()
    with own.database.transaction() as connection:
        waiting = requests.waiting(connection, main.segment.id)[0]
        requests.move(connection, waiting.id, "applied", actor="trainer", step=41)
    assert named(reader.look(), "changed")[0]["say"] == "A request is applied"


def test_a_metric_that_is_measured_later_at_a_step_is_not_missed(own: Site) -> None:
    main = own.lines["main"]
    with own.database.read() as connection:
        cursor = Cursor(audit.last_id(connection), {main.segment.id: (40, 40)})
    reader = Follower(own.database, main.grower.run, ["loss", "eval_loss"], cursor)
    main.log("loss", [41, 42], [0.5, 0.4])
    assert named(reader.look(), "progress")[0]["points"]["main"].keys() == {"loss"}
    main.log("eval_loss", [41], [0.7])
    assert named(reader.look(), "progress")[0]["points"] == {"main": {"eval_loss": [(41, 0.7)]}}

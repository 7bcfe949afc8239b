"""The command `audit`: the plain look, the full one, and the proof."""

from __future__ import annotations

import json

import pytest

from branchtrack.core.records import Node
from branchtrack.db.tables import events
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_events_are_told_oldest_first_with_their_hashes(call: Call, forked: Forked) -> None:
    call("checkpoint", "demo", "--no-wait", "--reason", "why not")
    listed = call("audit", "demo", "--all", "--json").json
    assert [event["seq"] for event in listed] == list(range(1, len(listed) + 1))
    last = listed[-2]
    assert (last["kind"], last["state"], last["reason"]) == ("request", "received", "why not")
    assert last["request"] == last["ref"] and len(last["hash"]) == 64
    assert call("audit", "demo", "--limit", "2", "--json").json == listed[-2:]
    assert "why not" in call("audit", "demo").out


def test_a_run_is_found_by_its_id_and_missed_by_another_name(call: Call, forked: Forked) -> None:
    by_id = call("audit", forked[0].run.id[:6], "--json")
    assert by_id.json == call("audit", "demo", "--json").json
    assert call("audit", "dmo").code == 2


def test_following_prints_each_new_event_once(
    call: Call, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = forked[0]
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) > 2:
            raise KeyboardInterrupt
        tree.end("main" if len(rests) == 1 else "cooler")

    monkeypatch.setattr("branchtrack.cli.commands.audit.time.sleep", rest)
    called = call("audit", "demo", "--follow", "--limit", "1", "--json")
    assert called.code == 130
    printed = [json.loads(text) for text in called.out.splitlines()]
    assert [event["state"] for event in printed[1:]] == ["finished", "finished"]
    assert [event["seq"] for event in printed] == list(
        range(printed[0]["seq"], printed[0]["seq"] + 3)
    )


@pytest.mark.parametrize("deed", ["changed", "removed"])
def test_a_log_that_was_tampered_with_is_found_out(call: Call, forked: Forked, deed: str) -> None:
    tree = forked[0]
    whole = call("audit", "demo", "--verify", "--json")
    assert whole.code == 0 and whole.json["holds"]
    with tree.database.transaction() as connection:
        line = (events.c.run_id == tree.run.id) & (events.c.seq == 3)
        if deed == "changed":
            connection.execute(events.update().where(line).values(actor="somebody else"))
        else:
            connection.execute(events.delete().where(line))
    broken = call("audit", "demo", "--verify", "--json")
    assert broken.code == 1 and broken.json["broken_at"] == 3
    assert "event 3" in call("audit", "demo", "--verify").err


def test_a_log_whose_end_was_cut_off_is_found_out(call: Call, forked: Forked) -> None:
    request = call("checkpoint", "demo", "--no-wait", "--json").json["id"]
    with forked[0].database.transaction() as connection:
        connection.execute(events.delete().where(events.c.ref == request))
    broken = call("audit", "demo", "--verify", "--json")
    assert broken.code == 1 and broken.json["untold"] == [
        {"kind": "request", "id": request},
        {"kind": "run", "id": forked[0].run.id},
    ]
    assert (broken.json["broken_at"], broken.json["holds"]) == (None, False)
    assert request[:8] in call("audit", "demo", "--verify").err

"""What all commands that ask share: conditions, keys, previews, exit codes."""

from __future__ import annotations

import pytest

from branchtrack.cli import request_options
from branchtrack.core.records import Node
from branchtrack.db import requests
from tests.cli.commands.test_steer import answer
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def kept(tree: Tree) -> list[str]:
    with tree.database.read() as connection:
        return [one.state for one in requests.list_of_run(connection, tree.run.id)]


def test_conditions_and_key_are_stored_as_typed_values(call: Call, forked: Forked) -> None:
    asked = (
        "set",
        "demo",
        "lr=1e-3",
        "--only-if",
        "lr=0.01",
        "--not-after-step",
        "50",
        "--expires-in",
        "60",
        "--key",
        "k1",
        "--no-wait",
        "--json",
    )
    first, second = call(*asked), call(*asked)
    assert first.code == second.code == 0
    assert first.json["conditions"]["only_if"] == {"lr": 0.01}
    assert first.json["conditions"]["not_after_step"] == 50
    assert (first.json["key"], first.json["channel"]) == ("k1", "shell")
    assert first.json["id"] == second.json["id"] and kept(forked[0]) == ["accepted"]


def test_a_preview_asks_for_nothing(call: Call, forked: Forked) -> None:
    found = call("set", "demo", "lr=1e-3", "--preview", "--only-if", "lr=1", "--json")
    assert found.code == 0
    change = found.json["changes"][0]
    assert (change["name"], change["before"], change["after"]) == ("lr", 0.01, 0.001)
    assert "only if lr is 1" in found.json["unmet"]
    assert "0.01 → 1e-3" in call("set", "demo", "lr=1e-3", "--preview").out
    bad = call("set", "demo", "lr=-1", "--preview")
    assert bad.code == 2 and "greater than 0" in bad.err
    assert kept(forked[0]) == []


@pytest.mark.parametrize("state", ["ineffective", "failed", "expired", "cancelled", "superseded"])
def test_what_did_not_come_true_exits_with_1(call: Call, forked: Forked, state: str) -> None:
    first = [("applied", {})] if state == "ineffective" else []
    thread = answer(forked[0], *first, (state, {"error": "why not"}))
    found = call("set", "demo", "lr=1e-3")
    thread.join()
    assert found.code == 1 and state in found.out and "why not" in found.out


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        (["pause", "demo"], {}),
        (["stop", "demo", "--when", "epoch"], {"when": "epoch"}),
        (
            ["rewind", "demo", "NODE", "--name", "b", "--set", "lr=1"],
            {"node": "NODE", "name": "b", "values": {"lr": "1"}},
        ),
        (["freeze", "demo", "a", "b.*"], {"modules": "a, b.*"}),
        (["note", "demo", "hello"], {"text": "hello"}),
    ],
)
def test_each_command_asks_for_what_it_says(
    call: Call, forked: Forked, arguments: list[str], payload: dict[str, object]
) -> None:
    node = forked[1][1].id
    found = call(*[node if one == "NODE" else one for one in arguments], "--no-wait", "--json")
    assert found.code == 0, found.err
    assert found.json["kind"] == arguments[0]
    assert found.json["payload"] == {k: node if v == "NODE" else v for k, v in payload.items()}


def test_an_end_that_may_take_long_is_not_waited_for(call: Call, forked: Forked) -> None:
    found = call("stop", "demo", "--when", "checkpoint", "--json")
    assert (found.code, found.json["state"]) == (0, "accepted")


def test_the_first_sample_that_a_change_is_used_for_is_named_as_one() -> None:
    answer = {"id": "ab", "kind": "data", "state": "verified", "step": 9, "conditions": {}}
    missing = dict.fromkeys(("requested", "before", "applied", "effective", "node", "error"))
    result = {"from_sample": {"data.shards": 1404}, "paused": "by ann"}
    lines = request_options.answer_lines({**answer, **missing, "result": result})
    assert "paused by ann, data.shards from sample 1,404 on" in "\n".join(lines)

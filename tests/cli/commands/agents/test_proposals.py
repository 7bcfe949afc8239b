"""The commands `proposals`, `approve` and `decline`."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from branchtrack import control
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node, Request
from branchtrack.db import requests
from branchtrack.db.watching import agents
from tests.cli.conftest import Call
from tests.control.samples import SET_LR
from tests.db.watching.rows import add_agent
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def proposed(forked: Forked, **how: Any) -> Request:
    database = forked[0].database
    with database.transaction() as connection:
        agent = agents.by_name(connection, forked[0].run.id, "guard")
        agent = agent or add_agent(connection, forked[0].run.id)
    who = Actor("guard", "agent", "policy", agent_id=agent.id)
    why = "loss rose\x1b[2J"
    return control.submit(database, "demo", SET_LR, actor=who, reason=why, propose=True, **how)


def test_what_waits_is_listed_with_its_step_and_reason(call: Call, forked: Forked) -> None:
    assert "Nothing waits" in call("proposals").out
    request = proposed(forked)
    printed = call("proposals", "demo").out
    assert request.id[:8] in printed and "set lr 1e-3" in printed
    assert "guard (policy)" in printed and "loss rose\\x1b[2J" in printed
    (row,) = call("proposals", "--json").json
    assert (row["agent"], row["state"], row["id"]) == ("guard", "proposed", request.id)
    assert call("proposals", "nobody").code == 2


def test_what_expired_is_listed_no_more(call: Call, forked: Forked) -> None:
    proposed(forked, when={"expires_in": 0.01})
    time.sleep(0.02)
    assert call("proposals", "--json").json == []


def test_a_proposal_is_declined_with_a_reason(call: Call, forked: Forked) -> None:
    request = proposed(forked)
    declined = call("decline", request.id[:8], "--reason", "not now", "--json").json
    assert (declined["state"], declined["error"]) == ("declined", "not now")
    assert call("decline", request.id[:8]).code == 2
    assert "is declined" in call("decline", proposed(forked).id).out


def test_a_proposal_is_approved_without_waiting(call: Call, forked: Forked) -> None:
    request = proposed(forked)
    assert call("approve", request.id[:8], "--no-wait", "--json").json["state"] == "accepted"
    assert call("approve", request.id[:8]).code == 2
    assert call("approve", "ffffffff").code == 2


@pytest.mark.parametrize(("states", "code"), [(("applied", "verified"), 0), (("failed",), 1)])
def test_the_exit_code_says_whether_it_took_effect(
    call: Call, forked: Forked, states: tuple[str, ...], code: int
) -> None:
    request, database = proposed(forked), forked[0].database

    def answer() -> None:
        while True:
            with database.transaction() as connection:
                if requests.get(connection, request.id).state == "accepted":
                    for state in states:
                        requests.move(connection, request.id, state, actor="run", step=1)
                    return
            time.sleep(0.02)

    training = threading.Thread(target=answer, daemon=True)
    training.start()
    called = call("approve", request.id, "--json")
    training.join(10)
    assert called.code == code and called.json["state"] == states[-1]


def test_a_fork_that_is_approved_is_queued(call: Call, forked: Forked) -> None:
    tree, nodes = forked
    who = Actor("ann")
    request = control.propose_fork(tree.database, tree.store, nodes[1].id, actor=who)
    answer = call("approve", request.id, "--json")
    assert answer.code == 0 and answer.json["result"]["launch"]

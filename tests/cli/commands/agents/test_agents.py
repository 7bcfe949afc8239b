"""The command `agents`."""

from __future__ import annotations

from branchtrack.core.agents.records import Agent
from branchtrack.core.records import Node
from branchtrack.db.watching import agents
from tests.cli.conftest import Call
from tests.db.watching.rows import add_agent, add_exchange
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def hired(forked: Forked) -> Agent:
    with forked[0].database.transaction() as connection:
        agent = add_agent(connection, forked[0].run.id)
        return agents.beat(connection, agent.id, spent={"interventions": 1}, note="all is well")


def test_agents_are_listed_with_what_they_used(call: Call, forked: Forked) -> None:
    assert "No agents." in call("agents").out
    hired(forked)
    printed = call("agents", "demo").out
    assert "demo/main" in printed and "1/2 interventions" in printed and "all is well" in printed
    (row,) = call("agents", "--json").json
    promised = "id name run branch policy mode state step note options budget spent actor stop"
    assert set(promised.split()) <= set(row)
    assert call("agents", "nobody").code == 2


def test_a_stored_limit_that_is_no_number_is_shown_as_it_is(call: Call, forked: Forked) -> None:
    tree, _ = forked
    with tree.database.transaction() as connection:
        agent = add_agent(connection, tree.run.id, budget={"branches": 10**30, "steps": 5})
        agents.beat(connection, agent.id, spent={"branches": 1, "steps": []})
    called = call("agents")
    assert called.code == 0 and "1/a number of more than 64 bits branches, []/5" in called.out


def test_an_agent_is_asked_to_stop(call: Call, forked: Forked) -> None:
    agent = hired(forked)
    assert call("agents", "--stop", "demo/guard", "--json").json["stop"]
    with forked[0].database.transaction() as connection:
        agents.move(connection, agent.id, "stopped", actor="guard")
    assert call("agents", "--stop", agent.id[:8]).code == 2


def test_an_agent_gets_another_mode_and_other_limits(call: Call, forked: Forked) -> None:
    hired(forked)
    order = ("agents", "--change", "demo/guard", "--mode", "act", "--budget", "branches=3")
    row = call(*order, "--json").json
    assert row["mode"] == "act" and row["budget"]["branches"] == 3
    assert call("agents", "--change", "demo/guard", "--budget", "branches=-1").code == 2
    assert call("agents", "--change", "demo/guard", "--budget", f"steps={10**30}").code == 2
    assert call("agents", "demo").code == 0
    assert call("agents", "--mode", "act").code == 2


def test_exchanges_are_shown_whole_and_a_cut_is_said(call: Call, forked: Forked) -> None:
    agent = hired(forked)
    with forked[0].database.transaction() as connection:
        branch = forked[0].branches["main"].id
        for number in range(3):
            answer = f"\x1b[31manswer {number}"
            add_exchange(connection, agent, branch, answer=answer, error="too late")
    called = call("agents", "--exchanges", "demo/guard", "--limit", "2")
    assert "How is it going?" in called.out and "\\x1b[31manswer 2" in called.out
    assert "answer 0" not in called.out and "error: too late" in called.out
    assert "2 of 3 exchanges; --limit shows more." in called.err
    rows = call("agents", "--exchanges", agent.id[:8], "--json").json
    assert [row["answer"][-1] for row in rows] == ["2", "1", "0"]

"""Agents and their proposals, seen and decided on by a client."""

from __future__ import annotations

from branchtrack.client.client import Client
from branchtrack.db import runs
from tests.client.conftest import BRANCH
from tests.db.watching.rows import add_exchange
from tests.web.conftest import Site
from tests.web.pages.test_agents import hire, propose


def test_proposals_are_made_listed_and_decided_on(own: Site, client: Client) -> None:
    agent = hire(own)
    first, second = propose(own, agent, lr=1e-3), propose(own, agent, lr=2e-3)
    fork = client.propose_fork(own.node("main"), {"lr": "x0.5"}, reason="flat")
    request = client.request(BRANCH, "set", values={"lr": 3e-3}, propose=True)
    proposals = client.proposals("digits")
    assert [row.id for row in proposals] == [first.id, second.id, fork.id, request.id]
    assert client.approve(first.id).state == "accepted"
    for each in (second, fork, request):
        assert client.decline(each.id, "no").state == "declined"
    assert client.proposals() == []


def test_an_agent_is_changed_and_stopped(own: Site, client: Client) -> None:
    agent = hire(own)
    changed = client.change_agent(agent.id, mode="act", budget={"branches": 2})
    assert changed.mode == "act" and changed.budget["branches"] == 2
    assert client.stop_agent(agent.id).stop
    assert [row.name for row in client.agents("digits")] == ["guard"]


def test_exchanges_are_the_newest_first(own: Site, client: Client) -> None:
    agent = hire(own, policy="llm", name="helper")
    with own.database.transaction() as connection:
        branch = runs.find_branch(connection, "digits")
        for step in range(2):
            add_exchange(connection, agent, branch.id, step=step)
    assert [exchange.step for exchange in client.exchanges(agent.id)] == [1, 0]

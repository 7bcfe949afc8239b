"""The page of agents: proposals are decided on, agents changed and stopped, exchanges shown."""

from __future__ import annotations

import time

from branchtrack import control
from branchtrack.core.actors import Actor
from branchtrack.core.agents.policies.registry import POLICIES
from branchtrack.core.agents.records import Agent
from branchtrack.core.records import Request
from branchtrack.db import requests, runs
from branchtrack.db.watching import agents
from tests.db.watching.rows import add_agent, add_exchange
from tests.web.conftest import Site


def hire(site: Site, **facts: object) -> Agent:
    """An agent of the run."""
    with site.database.transaction() as connection:
        run = runs.find_run(connection, "digits")
        return add_agent(connection, run.id, **facts)


def propose(site: Site, agent: Agent, **values: float) -> Request:
    """A proposal of the agent to change settings of the branch that trains."""
    return control.submit(
        site.database,
        "digits",
        {"kind": "set", "values": values},
        actor=Actor(agent.name, "agent", "policy", agent_id=agent.id),
        reason="the loss is flat",
        propose=True,
    )


def state_of(site: Site, request: Request) -> Request:
    """The request as it is now."""
    with site.database.read() as connection:
        return requests.get(connection, request.id)


def test_without_agents_the_page_says_how_to_start_one(own: Site) -> None:
    page = own.get("/agents")
    assert "Nothing waits for a decision." in page.text
    assert "branchtrack agent RUN --policy guard" in page.text
    policies = page.one("table", aria_label="Policies")
    assert [name.text for name in policies.all("th", class_="title")] == [*POLICIES, "llm"]
    assert policies.all("td", class_="muted")[0].text == POLICIES["guard"].about


def test_a_proposal_is_approved_in_the_name_of_its_maker(own: Site) -> None:
    proposal = propose(own, hire(own), lr=1e-3)
    page = own.get("/agents")
    assert "set lr = 1e-3" in page.text and "the loss is flat" in page.text
    assert own.client.post(f"/proposals/{proposal.id}/approve").status_code == 303
    approved = state_of(own, proposal)
    assert approved.state == "accepted" and approved.actor == "guard (policy)"
    assert approved.decided_by
    assert own.client.post(f"/proposals/{proposal.id}/approve").status_code == 422


def test_a_proposal_is_declined_with_a_reason(own: Site) -> None:
    proposal = propose(own, hire(own), lr=1e-3)
    answer = own.client.post(f"/proposals/{proposal.id}/decline", data={"reason": "not yet"})
    assert answer.status_code == 303
    declined = state_of(own, proposal)
    assert (declined.state, declined.error) == ("declined", "not yet")


def test_an_agent_is_given_another_mode_and_stopped(own: Site) -> None:
    agent = hire(own)
    page = own.get(f"/agents/{agent.id}")
    assert "started by ann" in page.text
    fields = {"mode": "act", "branches": "3", "interventions": ""}
    assert own.client.post(f"/agents/{agent.id}", data=fields).status_code == 303
    with own.database.read() as connection:
        changed = agents.get(connection, agent.id)
    assert changed.mode == "act" and changed.budget["branches"] == 3
    assert changed.budget["interventions"] is None
    assert own.client.post(f"/agents/{agent.id}", data={"branches": "-1"}).status_code == 422
    assert own.client.post(f"/agents/{agent.id}/stop").status_code == 303
    with own.database.read() as connection:
        assert agents.get(connection, agent.id).stop
    assert own.client.get("/agents/ffff").status_code == 404


def test_what_a_model_was_asked_and_said_is_shown_as_text(own: Site) -> None:
    agent = hire(own, policy="llm", name="helper")
    with own.database.transaction() as connection:
        branch = runs.find_branch(connection, "digits")
        for answer in ('<script>alert("no")</script>', "second"):
            add_exchange(connection, agent, branch.id, answer=answer, outcome="malformed")
    markup = own.client.get(f"/agents/{agent.id}").get_data(as_text=True)
    assert "How is it going?" in markup and "<script>alert" not in markup
    assert "&lt;script&gt;alert" in markup and "malformed" in markup


def test_a_proposal_that_nobody_decided_on_expires(own: Site) -> None:
    agent = hire(own)
    proposal = control.submit(
        own.database,
        "digits",
        {"kind": "pause"},
        actor=Actor(agent.name, "agent", "policy", agent_id=agent.id),
        reason="look at it",
        when={"expires_in": 0.05},
        propose=True,
    )
    time.sleep(0.06)
    assert "Nothing waits for a decision." in own.get("/agents?run=digits").text
    assert state_of(own, proposal).state == "expired"

"""The API of agents and proposals."""

from __future__ import annotations

from branchtrack.db import runs
from tests.db.watching.rows import add_exchange
from tests.web.conftest import Site
from tests.web.pages.test_agents import hire, propose, state_of


def test_proposals_are_listed_and_decided_on(own: Site) -> None:
    agent = hire(own)
    first, second = propose(own, agent, lr=1e-3), propose(own, agent, lr=2e-3)
    listed = own.client.get("/api/v1/proposals?run=digits").get_json()["proposals"]
    assert [row["id"] for row in listed] == [first.id, second.id]
    assert {"run", "branch", "agent", "expires_at", "asked_step"} <= listed[0].keys()
    approved = own.client.post(f"/api/v1/proposals/{first.id}/approve").get_json()
    assert (approved["state"], approved["actor"]) == ("accepted", "guard (policy)")
    answer = own.client.post(f"/api/v1/proposals/{second.id}/decline", json={"reason": "no"})
    assert answer.get_json()["state"] == "declined"
    assert state_of(own, second).error == "no"
    assert own.client.get("/api/v1/proposals").get_json() == {"proposals": []}


def test_a_request_and_a_fork_are_proposed(own: Site) -> None:
    body = {"kind": "set", "values": {"lr": 1e-3}, "reason": "flat", "propose": True}
    asked = own.client.post("/api/v1/runs/digits/branches/main/requests", json=body).get_json()
    assert asked["state"] == "proposed" and asked["conditions"]["expires_at"]
    wrong = own.client.post(
        "/api/v1/runs/digits/branches/main/requests", json={**body, "propose": "yes"}
    )
    assert wrong.status_code == 422
    head = own.lines["main"].head
    assert head is not None
    fork = own.client.post(
        f"/api/v1/nodes/{head.id}/propose", json={"settings": {"lr": "x0.5"}, "reason": "flat"}
    ).get_json()
    assert (fork["kind"], fork["state"]) == ("resume", "proposed")
    assert len(own.client.get("/api/v1/proposals").get_json()["proposals"]) == 2


def test_agents_are_listed_changed_and_stopped(own: Site) -> None:
    agent = hire(own)
    (row,) = own.client.get("/api/v1/agents").get_json()["agents"]
    assert (row["name"], row["run"], row["mode"]) == ("guard", "digits", "propose")
    changed = own.client.patch(
        f"/api/v1/agents/{agent.id}", json={"mode": "act", "budget": {"branches": 2}}
    ).get_json()
    assert changed["mode"] == "act" and changed["budget"]["branches"] == 2
    refused = own.client.patch(f"/api/v1/agents/{agent.id}", json={"mode": "rule"})
    assert refused.status_code == 422 and refused.get_json()["error"]["field"] == "mode"
    refused = own.client.patch(f"/api/v1/agents/{agent.id}", json={"budget": {"branches": 10**30}})
    assert refused.status_code == 422
    assert refused.get_json()["error"]["field"] == "budget.branches"
    assert own.client.get("/agents").status_code == 200
    assert own.client.post(f"/api/v1/agents/{agent.id}/stop").get_json()["stop"]
    assert own.client.get(f"/api/v1/agents/{agent.id}").get_json()["id"] == agent.id


def test_exchanges_come_in_pages(own: Site) -> None:
    agent = hire(own, policy="llm", name="helper")
    with own.database.transaction() as connection:
        branch = runs.find_branch(connection, "digits")
        for step in range(3):
            add_exchange(connection, agent, branch.id, step=step)
    address = f"/api/v1/agents/{agent.id}/exchanges"
    page = own.client.get(f"{address}?limit=2").get_json()
    assert [row["step"] for row in page["exchanges"]] == [2, 1] and page["total"] == 3
    last = own.client.get(f"{address}?limit=2&before={page['next']}").get_json()
    assert [row["step"] for row in last["exchanges"]] == [0] and last["next"] is None

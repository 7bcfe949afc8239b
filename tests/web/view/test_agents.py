"""Agents in lines: what they used, in words."""

from __future__ import annotations

from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.web.view.agents import listed, used
from tests.db.watching.rows import add_agent
from tests.web.conftest import Site


def test_what_an_agent_used_is_said_of_each_limit(own: Site) -> None:
    database: Database = own.database
    with database.transaction() as connection:
        run = runs.find_run(connection, "digits")
        agent = add_agent(connection, run.id, budget={"branches": 4, "per_1000_steps": 20})
        agent = agents.beat(connection, agent.id, spent={"branches": 1, "tokens": 1200})
        assert used(agent) == "1 of 4 branches, 1,200 tokens"
        agents.move(connection, agent.id, "stopped", actor="ann")
        other = add_agent(connection, run.id, "other")
        names = [line.agent.name for line in listed(connection, run.id)]
        assert names == ["other", "guard"] and other.name == "other"


def test_a_stored_limit_that_is_no_number_is_shown_as_it_is(own: Site) -> None:
    with own.database.transaction() as connection:
        run = runs.find_run(connection, "digits")
        agent = add_agent(connection, run.id, budget={"branches": 10**30, "steps": []})
        agent = agents.beat(connection, agent.id, spent={"branches": None, "tokens": 10**30})
    text = "a number of more than 64 bits"
    assert used(agent) == f"None of {text} branches, 0 of [] steps, {text} tokens"
    assert text in own.client.get("/agents").text

"""Agents, proposals and exchanges as JSON."""

from __future__ import annotations

import json
import time

from branchtrack import control
from branchtrack.analysis import payloads_agents
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from tests.control.samples import SET_LR
from tests.db.watching.rows import add_agent, add_exchange
from tests.trees_for_tests import make_tree


def test_an_agent_shows_its_budget_and_what_it_used(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.transaction() as connection:
        agent = add_agent(connection, tree.run.id)
        agent = agents.beat(connection, agent.id, spent={"branches": 1, "at": [5]})
        shown = payloads_agents.agent(connection, agent, time.time())
    assert (shown["run"], shown["branch"], shown["state"]) == ("demo", "main", "running")
    assert shown["spent"] == {"branches": 1} and shown["budget"] == {"interventions": 2}
    assert json.dumps(shown)


def test_an_agent_that_is_silent_is_lost(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.transaction() as connection:
        agent = add_agent(connection, tree.run.id, process="elsewhere:1:1")
        assert not payloads_agents.is_lost(agent, time.time())
        assert payloads_agents.is_lost(agent, time.time() + 60)
        shown = payloads_agents.agent(connection, agent, time.time() + 60)
        assert shown["state"] == "lost"
        ended = agents.move(connection, agent.id, "ended", actor="guard")
        assert not payloads_agents.is_lost(ended, time.time() + 60)


def test_a_proposal_names_its_maker_and_its_end(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.transaction() as connection:
        agent = add_agent(connection, tree.run.id)
    who = Actor("guard", "agent", "policy", agent_id=agent.id)
    request = control.submit(database, "demo", SET_LR, actor=who, reason="why", propose=True)
    with database.read() as connection:
        shown = payloads_agents.proposal(connection, request)
    assert (shown["run"], shown["branch"], shown["agent"]) == ("demo", "main", "guard")
    assert shown["expires_at"] and shown["decided_by"] is None and shown["state"] == "proposed"


def test_an_exchange_is_shown_whole_or_without_its_texts(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.transaction() as connection:
        agent = add_agent(connection, tree.run.id)
        exchange = add_exchange(connection, agent, tree.branches["main"].id)
    whole = payloads_agents.exchange(exchange)
    assert whole["prompt"][0]["content"] == "How is it going?" and whole["answer"] == "{}"
    short = payloads_agents.exchange(exchange, whole=False)
    assert set(whole) - set(short) == {"prompt", "answer"}

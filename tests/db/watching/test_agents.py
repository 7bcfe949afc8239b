"""Agents: their rows, their lives, and the events that tell of them."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.db import audit, runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import IllegalTransition, NotFound
from tests.db.watching.rows import add_agent
from tests.trees_for_tests import Tree


def test_an_agent_is_found_by_run_and_name_or_by_its_id(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        run = runs.find_run(connection, "demo")
        agent = add_agent(connection, run.id)
        assert agents.find(connection, "demo/guard") == agent
        assert agents.find(connection, agent.id[:5]) == agent
        assert agents.listed(connection, run.id) == agents.listed(connection) == [agent]
        for ref in ("demo/other", "ffff"):
            with pytest.raises(NotFound):
                agents.find(connection, ref)


def test_the_agents_of_a_run_in_the_trash_are_not_found(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        run = runs.find_run(connection, "demo")
        agent = add_agent(connection, run.id)
    tree.end("main")
    control.delete(database, "demo", actor="ann")
    with database.read() as connection:
        assert agents.listed(connection) == []
        with pytest.raises(NotFound):
            agents.find(connection, agent.id)
        assert agents.get(connection, agent.id) == agent


def test_what_is_decided_about_an_agent_has_an_event_and_a_heartbeat_has_none(
    database: Database, tree: Tree
) -> None:
    with database.transaction() as connection:
        run = runs.find_run(connection, "demo")
        agent = add_agent(connection, run.id)
        agents.beat(connection, agent.id, step=7, spent={"tokens": 3}, note="all is well")
        agents.update(connection, agent.id, actor="ben", mode="act")
        agents.ask_to_stop(connection, agent, "ben")
        ended = agents.move(connection, agent.id, "stopped", actor="ben", note="enough")
        assert (ended.step, ended.spent, ended.mode) == (7, {"tokens": 3}, "act")
        events = audit.page(connection, run.id, 10, kind="agent")[::-1]
        states = [(event.state, event.actor) for event in events]
        assert states == [
            ("running", "ann"),
            ("running", "ben"),
            ("running", "ben"),
            ("stopped", "ben"),
        ]
        with pytest.raises(IllegalTransition):
            agents.move(connection, agent.id, "ended", actor="ben")

"""Orders about agents: to stop, another mode, another budget."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.proposals import agent_orders
from branchtrack.core.actors import Actor
from branchtrack.core.agents.records import Agent
from branchtrack.db import audit
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import Forbidden, InvalidInput, NotFound
from tests.db.watching.rows import add_agent
from tests.trees_for_tests import make_tree


@pytest.fixture
def agent(database: Database, store: Store) -> Agent:
    """A guard that works for the run demo."""
    tree = make_tree(database, store)
    with database.transaction() as connection:
        return add_agent(connection, tree.run.id)


def test_an_agent_is_asked_to_stop_and_says_by_whom(database: Database, agent: Agent) -> None:
    agent_orders.stop(database, "demo/guard", actor="ann")
    with database.read() as connection:
        assert agents.get(connection, agent.id).stop == "ann"
        assert audit.first_broken_seq(connection, agent.run_id) is None


def test_mode_and_budget_are_changed_one_by_one(database: Database, agent: Agent) -> None:
    changed = agent_orders.change(database, agent.id, actor="ann", mode="act")
    assert changed.mode == "act" and changed.budget == agent.budget
    changed = agent_orders.change(database, agent.id, actor="ann", budget={"branches": "3"})
    assert (changed.budget["branches"], changed.budget["interventions"]) == (3, 2)


def test_a_model_without_a_price_gets_no_limit_of_dollars(database: Database, agent: Agent) -> None:
    with database.transaction() as connection:
        model = add_agent(connection, agent.run_id, "m", policy="llm", options={"price_in": 0.0})
    with pytest.raises(InvalidInput, match="price_in") as raised:
        agent_orders.change(database, model.id, actor="ann", budget={"dollars": 1})
    assert raised.value.field == "budget.dollars"
    changed = agent_orders.change(database, agent.id, actor="ann", budget={"dollars": 1})
    assert changed.budget["dollars"] == 1.0


def test_what_is_not_allowed_changes_nothing(database: Database, agent: Agent) -> None:
    with pytest.raises(InvalidInput, match="observe, propose, act"):
        agent_orders.change(database, agent.id, actor="ann", mode="obey")
    with pytest.raises(InvalidInput, match="budget"):
        agent_orders.change(database, agent.id, actor="ann", mode="act", budget={"x": 1})
    with pytest.raises(NotFound):
        agent_orders.stop(database, "demo/nobody", actor="ann")
    with database.read() as connection:
        assert agents.get(connection, agent.id).mode == "propose"


@pytest.mark.parametrize("role", ["viewer", "agent"])
def test_an_agent_cannot_give_itself_another_mode(
    database: Database, agent: Agent, role: str
) -> None:
    with pytest.raises(Forbidden):
        agent_orders.change(database, agent.id, actor=Actor("guard", role), mode="act")
    with pytest.raises(Forbidden):
        agent_orders.stop(database, agent.id, actor=Actor("guard", role))


def test_nothing_is_ordered_of_an_agent_that_has_ended(database: Database, agent: Agent) -> None:
    with database.transaction() as connection:
        agents.move(connection, agent.id, "ended", actor="guard")
    with pytest.raises(InvalidInput, match="is ended"):
        agent_orders.stop(database, agent.id, actor="ann")

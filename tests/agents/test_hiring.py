"""Agents begin, and go on under their names."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.db import audit
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import Forbidden, InvalidInput, NotFound
from tests.agents.benches import hired
from tests.trees_for_tests import make_tree


def test_a_new_agent_has_the_name_of_its_policy(database: Database, store: Store) -> None:
    make_tree(database, store)
    agent = hired(database, budget={"branches": "2"})
    assert (agent.name, agent.branch, agent.state) == ("guard", "main", "running")
    assert agent.budget["branches"] == 2 and agent.pid
    assert hired(database, policy="population", every_branch=True).branch is None


def test_the_same_name_goes_on_with_what_it_remembers(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    first = hired(database)
    with database.transaction() as connection:
        agents.beat(connection, first.id, memory={"count": 3}, spent={"branches": 1})
        agents.move(connection, first.id, "exhausted", actor="guard")
    second = hired(database, mode="observe", budget={"branches": 9})
    assert second.id == first.id and second.ended_at is None
    assert (second.memory, second.spent) == ({"count": 3}, {"branches": 1})
    assert (second.mode, second.budget["branches"], second.state) == ("observe", 9, "running")
    with database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_of_a_name_that_is_at_work_there_is_no_second(
    sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store)
    first = hired(sqlite_database)
    with sqlite_database.transaction() as connection:
        # A process of another machine, heard of just now.
        agents.update(connection, first.id, actor="test", process="elsewhere:1:1", pid=1)
        agents.beat(connection, first.id)
    with pytest.raises(InvalidInput, match="is at work"):
        hired(sqlite_database)
    with pytest.raises(InvalidInput, match="whose policy is guard"):
        hired(sqlite_database, policy="plateau", name="guard")


def test_an_agent_whose_process_died_goes_on(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    first = hired(sqlite_database)
    with sqlite_database.transaction() as connection:
        process = (first.process or "").rsplit(":", 1)[0] + ":1"
        agents.update(connection, first.id, actor="test", process=process)
    assert hired(sqlite_database).id == first.id


def test_who_may_not_decide_takes_on_no_agent(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    with pytest.raises(Forbidden):
        hired(sqlite_database, actor=Actor("guard", "agent"))
    with pytest.raises(InvalidInput, match="observe, propose, act"):
        hired(sqlite_database, mode="obey")
    with pytest.raises(InvalidInput):
        hired(sqlite_database, name="no/name")
    with pytest.raises(NotFound):
        hired(sqlite_database, "nobody")


def test_a_limit_of_dollars_needs_a_price(database: Database, store: Store) -> None:
    make_tree(database, store)
    orders: dict[str, Any] = {"policy": "llm", "budget": {"dollars": "1"}}
    with pytest.raises(InvalidInput, match="price_in") as raised:
        hired(database, options={"price_in": 0.0, "price_out": 0.0}, **orders)
    assert raised.value.field == "budget.dollars"
    agent = hired(database, options={"price_in": 0.0, "price_out": 2.0}, **orders)
    assert agent.budget["dollars"] == 1.0

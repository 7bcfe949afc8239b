"""Exchanges with models: stored with all that was said, covered by the log."""

from __future__ import annotations

from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import exchanges
from tests.db.watching.rows import add_agent, add_exchange
from tests.trees_for_tests import Tree


def test_an_exchange_is_stored_whole_and_covered_by_the_log(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        agent = add_agent(connection, branch.run_id)
        exchange = add_exchange(connection, agent, branch.id, request_id="a" * 16)
        assert exchange.prompt == [{"role": "user", "content": "How is it going?"}]
        assert exchanges.of_request(connection, "a" * 16) == exchange
        assert exchanges.find(connection, exchange.id[:6]) == exchange
        (event,) = audit.page(connection, branch.run_id, 10, kind="exchange")
        assert (event.ref, event.state) == (exchange.id, "nothing")
        assert integrity.of_run(connection, branch.run_id) == []


def test_the_exchanges_of_an_agent_come_in_pages(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        agent = add_agent(connection, branch.run_id)
        made = [add_exchange(connection, agent, branch.id, step=step) for step in range(3)]
        assert exchanges.of_agent(connection, agent.id, 2) == made[:0:-1]
        assert exchanges.of_agent(connection, agent.id, 2, made[1].seq) == made[:1]
        assert exchanges.count(connection, agent.id) == 3

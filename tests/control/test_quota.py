"""What tokens order and take back: counted, kept, and no more than they are for."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.records import Request
from branchtrack.db import audit, requests, tokens
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import Forbidden, InvalidInput, RateLimited
from branchtrack.web.view import request_lines
from tests.trees_for_tests import Tree, make_forked_tree, make_tree


def agent(tree: Tree, **how: Any) -> Actor:
    with tree.database.transaction() as connection:
        token, _ = tokens.create(connection, "sweeper", "agent", created_by="me", **how)
    return Actor(token.name, token.role, "api", token.id, token.only, token.limit)


def every(tree: Tree) -> list[Request]:
    with tree.database.read() as connection:
        return requests.list_of_run(connection, tree.run.id)[::-1]


def test_the_launches_that_a_token_orders_count_and_are_kept(
    database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(database, store)
    actor = agent(tree, limit=1)

    def order(**how: Any) -> Any:
        return control.create_launch(
            database, store, made[1].id, actor=actor, reason="why", settings={"lr": "1e-3"}, **how
        )

    with pytest.raises(InvalidInput):
        order(mode="magic")
    launch = order(name="lower")
    with pytest.raises(RateLimited, match="may make 1"):
        order()
    with pytest.raises(RateLimited):
        control.submit(database, "demo", {"kind": "checkpoint"}, actor=actor, reason="why")
    bad, good, late, _checkpoint = every(tree)
    assert [(one.kind, one.state) for one in (bad, good, late)] == [
        ("resume", "rejected"),
        ("resume", "done"),
        ("resume", "rejected"),
    ]
    assert "magic" in str(bad.error) and "may make 1" in str(late.error)
    assert (good.result, good.step) == ({"launch": launch.id}, 10)
    assert good.requested["settings"] == launch.overrides == {"lr": 1e-3}
    assert (
        request_lines.describe_request(good) == f"resume {made[1].id[:8]} as lower with lr = 1e-3"
    )
    with database.read() as connection:
        assert [one.id for one in launches.unfinished(connection)] == [launch.id]
        assert audit.first_broken_seq(connection, tree.run.id) is None
        assert audit.unlogged_changes(connection, tree.run.id) == []


def test_a_launch_cannot_be_asked_of_a_training_process(
    sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store)
    with pytest.raises(InvalidInput, match="kind"):
        control.submit(sqlite_database, "demo", {"kind": "resume", "node": "abcd"}, actor="me")


def test_a_token_cancels_only_what_it_could_have_asked_for(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    for payload in ({"kind": "set", "values": {"lr": 1e-3}}, {"kind": "checkpoint"}):
        control.submit(sqlite_database, "demo", payload, actor="me")
    other = Actor("o", "operator", "api", "0" * 16, ("checkpoint",))
    lr, checkpoint = every(tree)
    with pytest.raises(Forbidden, match="not for lr"):
        control.cancel(sqlite_database, lr.id, actor=other)
    control.cancel(sqlite_database, checkpoint.id, actor=other)
    assert [one.cancel for one in every(tree)] == [None, other.label]


@pytest.mark.parametrize("reason", ["", " ", "\u200b", "...", "\u2060\u200d"])
def test_an_agents_reason_has_something_in_it(
    sqlite_database: Database, store: Store, reason: str
) -> None:
    tree = make_tree(sqlite_database, store)
    with pytest.raises(InvalidInput, match="reason"):
        control.submit(
            sqlite_database, "demo", {"kind": "checkpoint"}, actor=agent(tree), reason=reason
        )

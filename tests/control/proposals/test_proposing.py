"""Proposals wait for a person, carry the step that was seen, and expire."""

from __future__ import annotations

import time

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control.proposals import proposing
from branchtrack.core.actors import Actor
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import Forbidden, InvalidInput, NameTaken
from tests.control.samples import SET_LR
from tests.trees_for_tests import make_forked_tree, make_tree

LLM = Actor("coach", "agent", "llm", agent_id="a")


def test_a_proposal_waits_and_changes_nothing(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor=LLM, reason="it is flat", propose=True)
    assert (request.state, request.asked_step, request.agent_id) == ("proposed", 0, "a")
    assert request.conditions["expires_at"] > time.time() + 3000
    assert control.poll(database, tree.segment("main").id) == []


def test_a_proposal_that_could_not_be_carried_out_is_refused(
    sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store)
    with pytest.raises(InvalidInput):
        bad = {"kind": "set", "values": {"lr": -1}}
        control.submit(sqlite_database, "demo", bad, actor=LLM, reason="why", propose=True)
    with pytest.raises(InvalidInput, match="reason"):
        control.submit(sqlite_database, "demo", SET_LR, actor=LLM, propose=True)


def test_a_fork_is_proposed_and_no_launch_is_made(database: Database, store: Store) -> None:
    tree, nodes = make_forked_tree(database, store)
    request = control.propose_fork(
        database, store, nodes[1].id, actor=LLM, settings={"lr": "x0.5"}, reason="why"
    )
    assert (request.state, request.kind) == ("proposed", "resume")
    assert request.requested["settings"] == {"lr": 0.005}
    with database.read() as connection:
        assert launches.newest_of_run(connection, tree.run.id) is None


def test_a_fork_that_cannot_be_is_refused_and_recorded(
    sqlite_database: Database, store: Store
) -> None:
    tree, nodes = make_forked_tree(sqlite_database, store)
    with pytest.raises(InvalidInput):
        order = {"settings": {"lr": -1}, "reason": "why"}
        control.propose_fork(sqlite_database, store, nodes[1].id, actor=LLM, **order)
    with pytest.raises(NameTaken):
        taken = {"name": "cooler", "reason": "why"}
        control.propose_fork(sqlite_database, store, nodes[1].id, actor=LLM, **taken)
    with pytest.raises(Forbidden):
        control.propose_fork(sqlite_database, store, nodes[1].id, actor=Actor("v", "viewer"))
    with sqlite_database.read() as connection:
        refused = requests.list_of_run(connection, tree.run.id)
    assert [request.state for request in refused] == ["rejected"] * 2


def test_what_nobody_decided_on_expires(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    soon, later = (
        control.submit(
            database, "demo", SET_LR, actor="me", when={"expires_in": seconds}, propose=True
        )
        for seconds in (0.01, None)
    )
    time.sleep(0.02)
    with database.transaction() as connection:
        assert proposing.expire_overdue(connection, "me", tree.run.id) == 1
        assert proposing.expire_overdue(connection, "me") == 0
        assert requests.get(connection, soon.id).state == "expired"
        assert requests.get(connection, later.id).state == "proposed"


def test_a_proposal_is_withdrawn(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    request = control.submit(sqlite_database, "demo", SET_LR, actor=LLM, reason="why", propose=True)
    with pytest.raises(Forbidden):
        control.cancel(sqlite_database, request.id, actor=Actor("other", "agent"))
    assert control.cancel(sqlite_database, request.id, actor=LLM).state == "cancelled"

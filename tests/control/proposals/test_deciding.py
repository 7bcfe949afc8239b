"""Decisions on proposals: by whom, once, and only of what still fits."""

from __future__ import annotations

import time
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.records import Request
from branchtrack.db import audit, requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import Forbidden, InvalidInput, NameTaken, NotFound, NotLive
from tests.control.samples import SET_LR
from tests.trees_for_tests import make_forked_tree, make_tree

LLM = Actor("coach", "agent", "llm", agent_id="a")


def proposed(database: Database, payload: Any = SET_LR, **how: Any) -> Request:
    return control.submit(
        database, "demo", payload, actor=LLM, reason="it is flat", propose=True, **how
    )


def test_what_is_approved_goes_to_the_training_in_the_name_of_its_maker(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    request = control.approve(database, store, proposed(database).id, actor="ann")
    assert (request.state, request.actor, request.decided_by) == ("accepted", LLM.label, "ann")
    (waiting,) = control.poll(database, tree.segment("main").id)
    assert waiting.id == request.id and waiting.requested == {"values": {"lr": 0.001}}
    with database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_a_proposal_is_decided_on_once(database: Database, store: Store) -> None:
    make_tree(database, store)
    request = proposed(database)
    control.approve(database, store, request.id, actor="ann")
    with pytest.raises(InvalidInput, match="accepted by ann"):
        control.decline(database, request.id, actor="bob")
    with pytest.raises(InvalidInput, match="nothing to decide"):
        control.approve(database, store, request.id, actor="bob")


def test_what_is_declined_says_by_whom_and_why(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    request = control.decline(database, proposed(database).id, actor="ann", reason="not now")
    assert (request.state, request.decided_by, request.error) == ("declined", "ann", "not now")
    assert control.decline(database, proposed(database).id, actor="ann").error
    assert control.poll(database, tree.segment("main").id) == []


@pytest.mark.parametrize("actor", [LLM, Actor("v", "viewer")])
def test_agents_and_viewers_decide_on_nothing(
    sqlite_database: Database, store: Store, actor: Actor
) -> None:
    make_tree(sqlite_database, store)
    request = proposed(sqlite_database)
    with pytest.raises(Forbidden):
        control.approve(sqlite_database, store, request.id, actor=actor)
    with pytest.raises(Forbidden):
        control.decline(sqlite_database, request.id, actor=actor)


def test_a_token_approves_only_what_it_may_do_itself(
    sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store)
    only = Actor("o", "operator", only=("weight_decay",))
    with pytest.raises(Forbidden):
        control.approve(sqlite_database, store, proposed(sqlite_database).id, actor=only)
    with pytest.raises(Forbidden):
        control.decline(sqlite_database, proposed(sqlite_database).id, actor=only)


def test_what_no_longer_fits_stays_a_proposal(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    request = proposed(sqlite_database)
    assert request.conditions["only_if"] == {"lr": 0.01}
    with sqlite_database.transaction() as connection:
        segment = tree.segment("main").id
        changed = {**segments.get(connection, segment).settings, "lr": 0.5}
        chosen = segments.segments.c.id == segment
        connection.execute(segments.segments.update().where(chosen).values(settings=changed))
    with pytest.raises(InvalidInput, match="changed since step 0"):
        control.approve(sqlite_database, store, request.id, actor="ann")
    with sqlite_database.read() as connection:
        assert requests.get(connection, request.id).state == "proposed"


def test_nothing_is_approved_for_a_training_that_has_ended(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    request = proposed(sqlite_database)
    tree.end("main")
    with pytest.raises((NotLive, InvalidInput)):
        control.approve(sqlite_database, store, request.id, actor="ann")


def test_a_proposal_expires_before_it_is_approved(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    request = proposed(sqlite_database, when={"expires_in": 0.01})
    time.sleep(0.02)
    with pytest.raises(InvalidInput, match="expired"):
        control.approve(sqlite_database, store, request.id, actor="ann")


def test_a_note_needs_no_training(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    request = proposed(sqlite_database, {"kind": "note", "text": "look here"})
    assert set(request.conditions) == {"expires_at"}
    tree.end("main")
    assert control.approve(sqlite_database, store, request.id, actor="ann").state == "done"


def test_a_fork_that_is_approved_is_queued_in_the_name_of_its_maker(
    database: Database, store: Store
) -> None:
    tree, nodes = make_forked_tree(database, store)
    request = control.propose_fork(
        database, store, nodes[1].id, actor=LLM, settings={"lr": 0.5}, name="half", reason="why"
    )
    approved = control.approve(database, store, request.id, actor="ann")
    assert (approved.state, approved.decided_by) == ("done", "ann")
    with database.read() as connection:
        launch = launches.get(connection, (approved.result or {})["launch"])
        assert launches.branch_name(connection, launch) == "half"
    assert (launch.state, launch.actor, launch.overrides) == ("queued", LLM.label, {"lr": 0.5})


def test_a_fork_whose_name_was_taken_meanwhile_stays_a_proposal(
    sqlite_database: Database, store: Store
) -> None:
    tree, nodes = make_forked_tree(sqlite_database, store)
    order = {"actor": LLM, "name": "half", "reason": "why"}
    request = control.propose_fork(sqlite_database, store, nodes[1].id, **order)
    tree.branch("half", nodes[1])
    with pytest.raises(NameTaken):
        control.approve(sqlite_database, store, request.id, actor="ann")
    with sqlite_database.read() as connection:
        assert requests.get(connection, request.id).state == "proposed"


@pytest.mark.parametrize("ref", ["demo", "demo/cooler"])
def test_what_is_in_the_trash_is_neither_listed_nor_decided_on(
    database: Database, store: Store, ref: str
) -> None:
    tree, nodes = make_forked_tree(database, store)
    for branch in ("main", "cooler"):
        tree.end(branch)
    order = {"actor": LLM, "reason": "why"}
    request = control.propose_fork(database, store, nodes[-1].id, **order)
    control.delete(database, ref, actor="ann")
    with database.read() as connection:
        assert requests.proposals(connection) == []
    with pytest.raises(NotFound, match=f"branchtrack restore {ref}"):
        control.decline(database, request.id, actor="ann")
    control.restore(database, ref, actor="ann")
    assert control.decline(database, request.id, actor="ann").state == "declined"

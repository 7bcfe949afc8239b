"""Trainings that wait for a model: whose pause it is that ends with the question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from branchtrack.agents.llm import holding
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Request
from branchtrack.db.engine import Database
from tests.agents.benches import hired, requests_of
from tests.trees_for_tests import make_tree


@pytest.mark.parametrize(
    ("orders", "is_held"),
    [
        ("own", True),
        ("", False),
        ("ann's", False),
        ("own ann's", False),
        ("ann's own", False),
        ("ann's unpause own", True),
        ("own own", True),
        ("own unpause", False),
        ("own unpause own", True),
        ("own proposed", True),
        ("own rejected", True),
        ("own set", True),
        ("own model's", False),
        ("another's own", False),
        ("own another's", False),
    ],
)
def test_only_what_the_question_alone_has_paused_goes_on(
    database: Database, store: Store, orders: str, is_held: bool
) -> None:
    make_tree(database, store)
    agent = hired(database, policy="llm", name="coach")
    own = pause_of_question(database, store)
    other = replace(own, agent_id=None, reason="lunch", state="done")
    known = {
        "own": own,
        "ann's": other,
        "unpause": replace(other, kind="unpause"),
        "proposed": replace(other, state="proposed"),
        "rejected": replace(other, state="rejected"),
        "set": replace(other, kind="set"),
        "model's": replace(own, reason="it diverges"),
        "another's": replace(own, agent_id="another"),
    }
    agent = replace(agent, id=own.agent_id or "")
    assert holding.is_held(agent, [known[name] for name in orders.split()][::-1]) == is_held


def pause_of_question(database: Database, store: Store) -> Request:
    """The request by which a question pauses a training."""
    tree = make_tree(database, store, "held")
    agent = hired(database, "held", policy="llm", name="coach")
    holding.pause(database, agent, "held", 0.0)
    (request,) = requests_of(tree)
    return request


def test_a_pause_of_an_earlier_process_holds_nothing(database: Database, store: Store) -> None:
    own = pause_of_question(database, store)
    earlier = replace(own, agent_id=None, segment_id="earlier")
    agent = replace(hired(database, "held", policy="llm", name="c"), id=own.agent_id or "")
    assert holding.is_held(agent, [own, earlier])


def test_what_cannot_be_paused_is_left(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    agent = hired(database, policy="llm", name="coach")
    tree.end("main")
    holding.pause(database, agent, "demo", 0.0)
    holding.unpause(database, agent, "demo", 0.0)
    assert [(row.kind, row.state) for row in requests_of(tree)] == [("pause", "rejected")]

"""Trainings that wait for a model: the pause has an end of its own, and is all that is ended."""

from __future__ import annotations

from branchtrack.agents.llm import holding
from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from tests.agents.benches import hired, requests_of
from tests.trees_for_tests import make_tree


def test_a_question_ends_its_own_pause_which_would_end_by_itself(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    agent = hired(database, policy="llm", name="coach")
    pause = holding.pause(database, agent, "demo", 0.0)
    assert pause is not None
    holding.unpause(database, agent, "demo", pause, 0.0)
    first, second = requests_of(tree)
    assert (first.kind, first.requested["seconds"]) == ("pause", holding.LEEWAY)
    assert (second.kind, second.requested["pause"]) == ("unpause", first.id)


def test_what_cannot_be_paused_is_left(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    agent = hired(database, policy="llm", name="coach")
    tree.end("main")
    assert holding.pause(database, agent, "demo", 0.0) is None
    assert [(row.kind, row.state) for row in requests_of(tree)] == [("pause", "rejected")]

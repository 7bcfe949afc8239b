"""What is expected of an update is read around it, and told once."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.session.restoration import Reference
from branchtrack.training.session.updates import Updates
from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.answers import Expectation
from tests.trees_for_tests import make_tree


@pytest.fixture
def updates(sqlite_database: Database, store: Store) -> Updates:
    """The part of a session whose jobs are done at once."""
    updates = Updates(sqlite_database, store, None)
    recorder: Any = SimpleNamespace(after_nodes=lambda job: job())
    committer: Any = SimpleNamespace(prepare=lambda live: None)
    updates.recorder, updates._committer = recorder, committer
    return updates


@pytest.fixture
def live() -> Live:
    """A model with gradients, and its optimizer."""
    model = torch.nn.Linear(2, 1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return Live(model, torch.optim.SGD(model.parameters(), 0.1), None, SimpleNamespace(), [True])


def expectation(live: Live, *durable: Node, **settings: Any) -> Expectation:
    return Expectation(settings, apply.read_groups(live), [], None, list(durable))


def update(updates: Updates, live: Live) -> None:
    updates.before_update(live, 7)
    live.optimizer.step()
    updates.after_update(live)
    updates.finish_update(live)


def test_an_update_of_which_nothing_is_expected_is_not_read(updates: Updates, live: Live) -> None:
    updates.before_update(live, 7)
    assert not updates.is_reading
    updates.after_update(live)
    updates.finish_update(live)


@pytest.mark.parametrize(("expected", "obeyed"), [(0.1, True), (0.2, False)])
def test_what_the_update_used_is_recorded_of_the_node(
    updates: Updates, live: Live, store: Store, expected: float, obeyed: bool
) -> None:
    tree = make_tree(updates._database, store)
    node = tree.node("main", 6)
    updates.expecting = expectation(live, node, lr=expected)
    update(updates, live)
    assert updates.expecting is None and not updates.is_reading
    with tree.database.read() as connection:
        effective = nodes.get(connection, node.id).effective or {}
    assert (effective["step"], effective["obeyed"], effective["lr"]) == (7, obeyed, 0.1)


def test_an_update_before_the_recorder_works_is_told_nothing(updates: Updates, live: Live) -> None:
    updates.recorder, updates.expecting = None, expectation(live, lr=0.1)
    update(updates, live)
    assert updates.expecting is not None


def compared(monkeypatch: pytest.MonkeyPatch, state: str) -> Any:
    """A reference that every update compares with as ``state``."""
    difference = {"name": "loss", "expected": 1.0, "found": 2.0}
    outcome = {"state": state, "step": 7, "differences": [difference]}
    monkeypatch.setattr(Reference, "compare", lambda *_: outcome)
    node: Any = SimpleNamespace(id="abcd", run_id="r")
    return Reference(node, None, (), ())


def test_a_resume_that_differs_ends_where_it_is_strict(
    updates: Updates,
    live: Live,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    updates._record_proof = lambda *_: None
    for strict, state in ((True, "differs"), (False, "differs"), (True, "equal")):
        updates.strict, updates.reference = strict, compared(monkeypatch, state)
        updates.watch([])
        if strict and state == "differs":
            with pytest.raises(CheckpointMismatch):
                updates.prove(7, live)
        else:
            with caplog.at_level(logging.WARNING):
                updates.prove(7, live)
        assert updates.witness is updates.reference is None
    assert [record.getMessage().count("abcd") for record in caplog.records] == [1]


def test_the_first_update_after_a_node_is_watched_once(updates: Updates, live: Live) -> None:
    original = torch.autograd.backward
    updates.watch([])
    updates.watch([])
    assert updates.witness is not None
    updates.prove(7, live)
    updates.prove(8, live)
    assert torch.autograd.backward is original

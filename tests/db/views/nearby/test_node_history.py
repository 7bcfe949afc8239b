"""What happened to a node, and what was tried from it."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.trials.records import CHANGE, GROUP, Arm, Spec, Trial
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, trials
from branchtrack.db.views.nearby import node_history
from tests.trees_for_tests import Tree, make_forked_tree


def order(tree: Tree, *nodes: str, subject: str | None = None) -> Trial:
    spec = Spec(nodes, (Arm("lr=x2", {"lr": "x2"}),), "loss", 10, 3, (3,), (0.05,))
    with tree.database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "trial", GROUP, actor="ann")
        return trials.create(
            connection,
            tree.run.id,
            spec,
            kind=CHANGE,
            group_id=group.id,
            subject=subject,
            actor="ann",
            reason="",
        )


def test_requests_come_with_the_events_of_the_node_and_of_them(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        for node_id in (line[1].id, None):
            made = requests.add(
                connection,
                tree.branches["main"],
                kind="checkpoint",
                payload={},
                requested={},
                actor=Actor("anna"),
                reason="why",
            )
            for state in ("accepted", "applied", "done") if node_id else ():
                facts = {} if state == "accepted" else {"step": 10, "node_id": node_id}
                requests.move(connection, made.id, state, actor="trainer", **facts)
    with database.read() as connection:
        history = node_history.read(connection, line[1])
    assert [(request.kind, request.state) for request in history.requests] == [
        ("checkpoint", "done")
    ]
    states = [event.state for event in history.events]
    assert states == ["checkpoint", "received", "accepted", "applied", "done"]
    assert history.trials == []


def test_trials_from_a_node_and_of_its_change_are_its_own(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    _root, ten, twenty, thirty, fork, _last = line
    first = order(tree, ten.id, twenty.id)
    second = order(tree, ten.id, subject=fork.id)
    third = order(tree, twenty.id, subject=twenty.id)
    expected = [
        (ten, [first, second]),
        (fork, [second]),
        (twenty, [first, third]),
        (thirty, []),
    ]
    with database.read() as connection:
        for node, listed in expected:
            history = node_history.read(connection, node)
            assert [trial.id for trial in history.trials] == [trial.id for trial in listed]
            assert [event.kind for event in history.events] == ["node"]


def test_of_many_trials_the_newest_are_there_and_before_them_those_of_the_own_change(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_history, "MOST_TRIALS", 3)
    node_history._query.cache_clear()
    tree, line = make_forked_tree(database, store)
    own = order(tree, line[0].id, subject=line[1].id)
    later = [order(tree, line[1].id) for _ in range(4)]
    with database.read() as connection:
        history = node_history.read(connection, line[1])
        other = node_history.read(connection, line[0])
    node_history._query.cache_clear()
    assert [trial.id for trial in history.trials] == [own.id, later[2].id, later[3].id]
    assert (history.has_more_trials, other.has_more_trials) == (True, False)

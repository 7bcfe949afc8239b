"""Rows of trials: what is stored comes back, of two writers one succeeds, and all is logged."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.removal import remove_branches
from branchtrack.core.trials.records import RUNNING, Trial
from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import trials
from branchtrack.db.orders.tables import trials as rows
from branchtrack.errors import Ambiguous, InvalidInput, NotFound
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


@pytest.fixture
def trial(database: Database, store: Store) -> Trial:
    samples.grown(database, store)
    return samples.ordered(database, store)


def test_a_trial_comes_back_as_it_was_stored(database: Database, trial: Trial) -> None:
    with database.read() as connection:
        assert trials.get(connection, trial.id) == trial
        assert trials.find(connection, trial.id[:8]) == trial
        assert trials.running(connection) == [trial]
        assert integrity.of_database(connection) == []


def test_of_two_who_save_the_later_is_told(database: Database, trial: Trial) -> None:
    facts = {"pairs": trial.pairs, "verdicts": trial.verdicts, "actor": "w"}
    with database.transaction() as connection:
        assert trials.save(connection, trial, **facts) is not None
    with database.transaction() as connection:
        assert trials.save(connection, trial, **facts, state="failed") is None
        assert trials.get(connection, trial.id).state == RUNNING


def test_its_events_are_its_order_and_its_verdict(
    database: Database, store: Store, trial: Trial
) -> None:
    samples.train_all(database, store, trial, *CLEAR)
    with database.read() as connection:
        run = runs.find_run(connection, "demo")
        events = [e for e in audit.since(connection, run.id) if e.kind == "trial"]
        assert audit.unlogged_changes(connection, run.id) == []
    assert [event.state for event in events] == ["created", "settled"]
    assert events[0].payload["changes"] == ["lr=x0.5"]
    assert events[1].payload["verdicts"][0]["verdict"] == "helps"


def test_trials_are_listed_from_the_oldest_and_by_pages_from_the_newest(
    database: Database, store: Store
) -> None:
    tree, _nodes = samples.grown(database, store)
    ids = [samples.ordered(database, store, repeats=3).id for _ in range(3)]

    def page(before: str | None) -> tuple[list[str], int]:
        rows, total = trials.latest(connection, tree.run.id, 2, before)
        return [row.id for row in rows], total

    with database.read() as connection:
        assert [each.id for each in trials.of_run(connection, tree.run.id)] == ids
        assert page(None) == ([ids[2], ids[1]], 3)
        assert page(ids[1]) == ([ids[0]], 3)
        assert page(ids[0]) == ([], 3)
        with pytest.raises(InvalidInput, match="before"):
            page("0" * 16)
        assert trials.of_run(connection, "0" * 16) == []
        assert trials.latest(connection, "0" * 16, 2) == ([], 0)


def test_lists_have_the_pairs_of_what_still_trains_alone(
    database: Database, store: Store, trial: Trial
) -> None:
    with database.read() as connection:
        assert trials.of_run(connection, trial.run_id) == [trial]
    settled = samples.train_all(database, store, trial, *CLEAR)
    with database.read() as connection:
        (head,) = trials.of_run(connection, trial.run_id)
    assert not isinstance(head, Trial) and head.verdicts == settled.verdicts
    assert (head.id, head.state, head.spec) == (trial.id, "settled", trial.spec)


def test_the_newest_trial_of_an_intervention_is_that_of_its_node(
    sqlite_database: Database, store: Store
) -> None:
    _tree, nodes = samples.grown(sqlite_database, store)
    order = {"nodes": [nodes[2].id], "intervention": True, "repeats": 3}
    made = [samples.ordered(sqlite_database, store, **order).id for _ in range(2)]
    samples.ordered(sqlite_database, store, repeats=3)
    with sqlite_database.read() as connection:
        known = trials.of_nodes(connection, [node.id for node in nodes])
    assert {node: trial.id for node, trial in known.items()} == {nodes[2].id: made[1]}


def test_what_is_not_there_or_not_clear_is_said(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    ids = [samples.ordered(sqlite_database, store, repeats=3).id for _ in range(2)]
    with sqlite_database.transaction() as connection:
        for number, made in enumerate(ids):
            row = rows.update().where(rows.c.id == made)
            connection.execute(row.values(id=f"abcdef0123456{number:03}"))
        for lookup in (trials.get, trials.find):
            with pytest.raises(NotFound):
                lookup(connection, "nothing")
        with pytest.raises(Ambiguous):
            trials.find(connection, "abcdef")
        assert trials.find(connection, "abcdef0123456001").id == "abcdef0123456001"


def test_a_tree_has_the_trials_of_its_changes_and_of_its_branches(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = samples.grown(sqlite_database, store)
    order = {"nodes": [tree_nodes[2].id], "intervention": True, "repeats": 3}
    of_change = samples.ordered(sqlite_database, store, **order)
    staying, removed = (samples.ordered(sqlite_database, store, repeats=3) for _ in range(2))
    for trial in (of_change, removed):
        samples.train_all(sqlite_database, store, trial, *CLEAR)
        remove_branches(sqlite_database, trial.id, actor="ann")
    with sqlite_database.read() as connection:
        assert len(trials.of_run(connection, of_change.run_id)) == 3
        shown = trials.of_tree(connection, of_change.run_id)
    assert [trial.id for trial in shown] == [of_change.id, staying.id]

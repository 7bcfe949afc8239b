"""Figures come from the record: updates of all branches, changes with effect, the last test."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.db import requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError
from branchtrack.examples.studies import recorded
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.tasks import loop
from tests.examples.studies import small
from tests.trees_for_tests import make_forked_tree, make_tree


def test_a_training_is_read_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = small.home(monkeypatch, tmp_path)
    loop.train(small.task(), small.chosen())
    with database.read() as connection:
        training = recorded.read(connection, runs.find_run(connection, "small"))
    assert (training.ref, training.steps) == ("small/main@0", 6)
    assert (training.eval_loss, training.test_loss) == (0.5, 0.7)
    assert training.curve == [(0, 0.5), (2, 0.5), (4, 0.5), (6, 0.5)]
    assert (training.interventions, training.tokens) == (0, 0) and training.seconds > 0
    database.close()


def test_the_result_is_the_best_node_and_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    weights = small.Falling([0.9, 0.3, math.nan, 0.7])
    loop.train(weights.task(), small.chosen())
    with database.read() as connection:
        training = recorded.read(connection, runs.find_run(connection, "small"))
    assert (training.ref, training.eval_loss) == ("small/main@2", 0.3)
    assert training.test_loss == weights.sums[1]
    database.close()


def test_without_a_finite_loss_the_result_is_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    loop.train(small.task({"validation": math.nan, "test": math.nan}), small.chosen())
    with database.read() as connection:
        training = recorded.read(connection, runs.find_run(connection, "small"))
    assert training.ref == "small/main@6" and math.isnan(training.test_loss)
    database.close()


def test_a_training_without_its_test_has_not_ended(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        with pytest.raises(BranchtrackError, match="test_loss"):
            recorded.read(connection, runs.get_run(connection, tree.run.id))


def test_a_curve_goes_on_where_the_branch_before_it_was_left(
    sqlite_database: Database, store: Store
) -> None:
    tree, _ = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        spans = segments.list_of_run(connection, tree.run.id)
        spans = sorted(spans, key=lambda s: s.started_at or 0)
        points = recorded.curve(connection, spans, "loss")
        trained = segments.trained_steps(connection, tree.run.id)
    xs = [x for x, _ in points]
    assert xs == sorted(set(xs)) and xs[-1] <= trained


def test_changes_count_and_pauses_do_not(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    actor = control.local_actor()
    for payload in ({"kind": "set", "values": {"lr": 0.001}}, {"kind": "pause"}):
        row = control.submit(sqlite_database, "demo", payload, actor=actor)
        with sqlite_database.transaction() as connection:
            requests.move(connection, row.id, "applied", actor="run", step=1)
    control.submit(sqlite_database, "demo", {"kind": "set", "values": {"lr": 0.1}}, actor=actor)
    with sqlite_database.read() as connection:
        assert recorded._interventions(connection, tree.run.id) == 1


def test_forks_count_as_interventions(sqlite_database: Database, store: Store) -> None:
    tree, _ = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        branches = runs.list_branches(connection, tree.run.id)
        assert recorded._interventions(connection, tree.run.id) == len(branches) - 1 > 0


def test_an_outcome_pays_for_every_training_and_has_the_loss_of_the_best() -> None:
    first = Training("a", "main", 9, 10, 1.0, 1, 5, [(0, 5.0), (10, 2.0)], 2.0, 2.1)
    second = Training("b", "main", 20, 20, 2.0, 2, 6, [(0, 5.0), (20, 3.0)], 3.0, 3.1)
    outcome = recorded.outcome("arm", "case", 1, [first, second], best=first)
    assert (outcome.loss, outcome.run, outcome.steps) == (2.1, "a/main@9", 30)
    assert (outcome.seconds, outcome.interventions, outcome.tokens) == (3.0, 3, 11)
    assert outcome.curve == [(0, 5.0), (10, 2.0), (10, 5.0), (30, 3.0)]
    assert recorded.outcome("arm", "case", 1, [first, second]).loss == 3.1

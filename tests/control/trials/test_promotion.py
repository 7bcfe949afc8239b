"""The winner of a trial becomes a branch of its own."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.promotion import promote
from branchtrack.control.trials.removal import remove_branches
from branchtrack.control.trials.review import plan_review
from branchtrack.core.trials.records import Trial
from branchtrack.db import integrity
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NameTaken, NotFound
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


@pytest.fixture
def trial(sqlite_database: Database, store: Store) -> Trial:
    samples.grown(sqlite_database, store)
    ordered = samples.ordered(sqlite_database, store)
    return samples.train_all(sqlite_database, store, ordered, *CLEAR)


def test_the_best_branch_of_what_helped_gets_the_name_and_leaves_the_group(
    sqlite_database: Database, trial: Trial
) -> None:
    branch = promote(sqlite_database, trial.id, "cooler", actor="ann")
    best = trial.pairs[0].sides[1]
    assert best is not None and branch.id == best.branch_id
    assert (branch.name, branch.group_id) == ("cooler", None)
    with sqlite_database.read() as connection:
        assert integrity.of_database(connection) == []


def test_any_branch_of_a_trial_can_be_kept(sqlite_database: Database, trial: Trial) -> None:
    branch = promote(sqlite_database, f"demo/{samples.branches_of(trial)[2]}", "kept", actor="ann")
    assert branch.name == "kept"


def test_a_branch_of_its_own_is_not_promoted(sqlite_database: Database, trial: Trial) -> None:
    with pytest.raises(InvalidInput, match="no group"):
        promote(sqlite_database, "demo/main", "cooler", actor="ann")


def test_nothing_wins_a_trial_in_which_nothing_helped(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    ordered = samples.ordered(sqlite_database, store)
    rows = [row[::-1] for row in CLEAR]
    worse = samples.train_all(sqlite_database, store, ordered, *rows)
    with pytest.raises(InvalidInput, match="helps"):
        promote(sqlite_database, worse.id, "cooler", actor="ann")


def test_names_that_are_taken_or_invalid_change_nothing(
    sqlite_database: Database, trial: Trial
) -> None:
    for name, error in (("main", NameTaken), ("a name", InvalidInput)):
        with pytest.raises(error):
            promote(sqlite_database, trial.id, name, actor="ann")
    with pytest.raises(NotFound):
        promote(sqlite_database, "feedfeed", "cooler", actor="ann")


def test_what_lies_in_the_trash_is_not_promoted(sqlite_database: Database, trial: Trial) -> None:
    remove_branches(sqlite_database, trial.id, actor="ann")
    with pytest.raises(NotFound, match="trash"):
        promote(sqlite_database, trial.id, "cooler", actor="ann")


def test_a_promoted_branch_is_no_change_to_be_reviewed(
    sqlite_database: Database, trial: Trial
) -> None:
    promote(sqlite_database, trial.id, "cooler", actor="ann")
    with sqlite_database.read() as connection:
        rows = plan_review(connection, "demo", steps=5)
    assert [row.node.step for row in rows] == [20]


def test_where_the_controls_alone_diverge_the_change_wins(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    ordered = samples.ordered(sqlite_database, store)
    rows = ((None, 2.0), (None, 1.9), (None, 2.1))
    rescued = samples.train_all(sqlite_database, store, ordered, *rows)
    winner = rescued.pairs[1].sides[1]
    assert winner is not None
    assert promote(sqlite_database, rescued.id, "saved", actor="ann").id == winner.branch_id

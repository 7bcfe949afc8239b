"""The branches of a trial go to the trash in one go; the verdict stays."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import deletion
from branchtrack.control.trials.removal import remove_branches
from branchtrack.db import integrity, runs
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


def test_all_of_them_go_and_come_back_together(database: Database, store: Store) -> None:
    samples.grown(database, store)
    trial = samples.train_all(database, store, samples.ordered(database, store), *CLEAR)
    removed = remove_branches(database, trial.id, actor="ann")
    assert len(removed.branches) == 6
    with database.read() as connection:
        listed = runs.list_branches(connection, trial.run_id)
    assert [branch.name for branch in listed if branch.trashed_at is None] == ["main"]
    assert samples.reread(database, trial).verdicts == trial.verdicts
    back = control.restore(database, f"demo/{removed.branches[0].name}", actor="ann")
    assert len(back.branches) == 6


def test_a_verdict_outlives_the_purge_of_its_branches(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    ordered = samples.ordered(sqlite_database, store)
    trial = samples.train_all(sqlite_database, store, ordered, *CLEAR)
    removed = remove_branches(sqlite_database, trial.id, actor="ann")
    with sqlite_database.read() as connection:
        entry = deletion.find(connection, f"demo/{removed.branches[0].name}")
    deletion.purge(sqlite_database, entry, actor="ann")
    assert samples.reread(sqlite_database, trial).verdicts == trial.verdicts
    with sqlite_database.read() as connection:
        assert integrity.of_database(connection) == []


def test_a_trial_that_trains_keeps_its_branches(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    with pytest.raises(InvalidInput, match="still trains"):
        remove_branches(sqlite_database, trial.id, actor="ann")


def test_branches_that_are_gone_are_not_removed_again(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    ordered = samples.ordered(sqlite_database, store)
    trial = samples.train_all(sqlite_database, store, ordered, *CLEAR)
    remove_branches(sqlite_database, trial.id, actor="ann")
    with pytest.raises(InvalidInput, match="no branches left"):
        remove_branches(sqlite_database, trial.id, actor="ann")


def test_purging_the_run_takes_its_trials_along(sqlite_database: Database, store: Store) -> None:
    tree, _ = samples.grown(sqlite_database, store)
    ordered = samples.ordered(sqlite_database, store)
    samples.train_all(sqlite_database, store, ordered, *CLEAR)
    tree.end("main")
    control.delete(sqlite_database, "demo", actor="ann")
    with sqlite_database.read() as connection:
        entry = deletion.find(connection, "demo")
    deletion.purge(sqlite_database, entry, actor="ann")
    with sqlite_database.read() as connection:
        assert integrity.of_database(connection) == []

"""The command `trials`: lists, shows, goes on, cancels, removes."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.control.trials.ordering import create_trial
from branchtrack.control.trials.planning import TrialOrder
from branchtrack.core.trials.records import Trial
from branchtrack.db.engine import Database
from tests.cli.conftest import Call, train_here
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


@pytest.fixture
def trial(sqlite_database: Database, store: Store) -> Trial:
    """A trial that nobody trains yet."""
    samples.grown(sqlite_database, store)
    return samples.ordered(sqlite_database, store)


def test_a_run_lists_its_trials_or_says_how_to_make_one(
    call: Call, sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    assert "No trial yet" in call("trials", "demo").out
    trial = samples.ordered(sqlite_database, store)
    listed = call("trials", "demo").out
    assert trial.id[:8] in listed and "pending" in listed and "lr=x0.5" in listed
    samples.train_all(sqlite_database, store, trial, *CLEAR)
    assert "helps" in call("trials", "demo").out
    assert [each["id"] for each in call("trials", "demo", "--json").json] == [trial.id]


def test_a_trial_is_shown_with_its_pairs(
    call: Call, sqlite_database: Database, store: Store, trial: Trial
) -> None:
    samples.train_all(sqlite_database, store, trial, *CLEAR)
    shown = call("trials", trial.id[:8])
    assert shown.code == 0 and "lr=x0.5: helps" in shown.out and "interval" in shown.out
    assert len(call("trials", trial.id, "--json").json["pairs"]) == 3
    other = samples.ordered(sqlite_database, store)
    assert len(call("trials", trial.id, other.id, "--json").json) == 2


def test_a_trial_is_cancelled_and_its_branches_are_removed(
    call: Call, sqlite_database: Database, store: Store, trial: Trial
) -> None:
    assert call("trials", trial.id, "--remove").code == 2
    cancelled = call("trials", trial.id, "--cancel", "--reason", "enough", "--json").json
    assert (cancelled["state"], cancelled["error"]) == ("cancelled", "enough")
    assert call("trials", trial.id, "--cancel").code == 2
    other = samples.ordered(sqlite_database, store)
    samples.train_all(sqlite_database, store, other, *CLEAR)
    told = call("trials", other.id, "--remove")
    assert told.code == 0 and "6 branches" in told.out and "verdict stays" in told.out
    assert call("trials", other.id, "--json").json["verdict"] == "helps"


@pytest.mark.parametrize("option", ["--go-on", "--cancel", "--remove"])
def test_a_whole_run_is_not_ended(call: Call, trial: Trial, option: str) -> None:
    assert call("trials", "demo", option).code == 2
    assert call("trials", trial.id, "--go-on", "--cancel").code == 2
    assert call("trials", "nobody").code == 2


def test_what_is_left_of_a_trial_is_trained(
    call: Call, sqlite_config: Config, sqlite_database: Database, store: Store
) -> None:
    train_here(sqlite_config, "--seeded", "--steps", "10")
    order = TrialOrder(["fake@0"], {"lr": "x0.5"}, steps=4, repeats=3, metric="loss")
    made = create_trial(sqlite_database, store, order, actor="ann")
    told = call("trials", made.id, "--go-on", "--slots", "3", "--json")
    assert told.code == 0 and (told.json["state"], told.json["verdict"]) == ("settled", "helps")
    again = call("trials", made.id, "--go-on", "--json")
    assert again.code == 0 and again.json["trained_steps"] == told.json["trained_steps"]

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


def test_all_open_trials_of_a_run_are_cancelled_and_no_other(
    call: Call, sqlite_database: Database, store: Store, trial: Trial
) -> None:
    samples.train_all(sqlite_database, store, trial, *CLEAR)
    others = [samples.ordered(sqlite_database, store).id for _ in range(2)]
    assert call("trials", "demo", "--remove").code == 2
    cancelled = call("trials", "demo", "--cancel", "--json").json
    assert {each["id"]: each["state"] for each in cancelled} == dict.fromkeys(others, "cancelled")
    assert call("trials", "demo", "--cancel", "--json").json == []
    assert call("trials", "demo", "--go-on", "--json").json == []


def test_options_that_exclude_each_other_and_unknown_names_are_refused(
    call: Call, trial: Trial
) -> None:
    assert call("trials", trial.id, "--go-on", "--cancel").code == 2
    told = call("trials", "nobody")
    assert told.code == 2 and "no run or trial 'nobody'" in told.err


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

"""The command `promote`: a trial's winner goes on as a branch of its own."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.trials.records import Trial
from branchtrack.db.engine import Database
from tests.cli.conftest import Call, train_here
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


@pytest.fixture
def trial(sqlite_database: Database, store: Store) -> Trial:
    samples.grown(sqlite_database, store)
    ordered = samples.ordered(sqlite_database, store)
    return samples.train_all(sqlite_database, store, ordered, *CLEAR)


def test_the_winner_or_a_branch_that_is_named_is_kept(call: Call, trial: Trial) -> None:
    told = call("promote", trial.id, "--name", "cooler", "--no-train", "--json")
    assert told.json == {"branch": "demo/cooler", "launch": None}
    ref = f"demo/{samples.branches_of(trial)[2]}"
    told = call("promote", ref, "--name", "other", "--no-train", "--reason", "mine")
    assert told.code == 0 and "demo/other is a branch of its own." in told.err
    names = [branch["name"] for branch in call("tree", "demo", "--json").json["branches"]]
    assert {"cooler", "other"} <= {*names}


@pytest.mark.parametrize("words", [["demo/main", "--name", "x"], ["TRIAL", "--name", "main"]])
def test_what_cannot_be_kept_is_refused(call: Call, trial: Trial, words: list[str]) -> None:
    told = call("promote", *[word.replace("TRIAL", trial.id) for word in words], "--no-train")
    assert told.code == 2
    assert call("promote", trial.id, "--no-train").code == 2


def test_it_is_trained_on_to_the_end_of_the_run(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--seeded", "--steps", "10")
    words = ["--set", "lr=x0.5", "--steps", "4", "--repeats", "3", "--metric", "loss"]
    trial = call("trial", "fake@0", *words, "--slots", "3", "--json").json
    assert trial["verdict"] == "helps"
    told = call("promote", trial["id"], "--name", "cooler", "--json")
    assert (told.code, told.json["state"], told.json["branch"]) == (0, "ended", "cooler")
    branches = call("tree", "fake", "--json").json["branches"]
    assert {line["name"]: line["step"] for line in branches}["cooler"] == 10

"""The command `trial`: from its order to its verdict."""

from __future__ import annotations

import json
import sys

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import trials
from tests.cli.conftest import Call, train_here
from tests.control.trials import samples
from tests.launching.helpers import SCRIPT, change_entry_point, wait_until

TRIAL = ["trial", "fake@0", "--set", "lr=x0.5", "--steps", "4", "--metric", "loss"]


@pytest.fixture
def seeded(sqlite_config: Config) -> None:
    """A run ``fake`` whose loss depends on its lr, and a little on its seed."""
    train_here(sqlite_config, "--seeded", "--steps", "10")


def test_a_trial_is_trained_to_its_verdict_and_drawn(seeded: None, call: Call) -> None:
    told = call(*TRIAL, "--repeats", "4", "--slots", "3", "--reason", "flat")
    assert told.code == 0 and "lr=x0.5: helps" in told.out
    assert "3 of at most 4 pairs" in told.out and "interval" in told.out
    (trial,) = call("trials", "fake", "--json").json
    assert (trial["verdict"], trial["reason"]) == ("helps", "flat") and "pairs" not in trial
    assert call("trials", trial["id"], "--json").json["trained_steps"] == 24
    assert call("verify", "--all").code == 0


def test_one_that_fails_ends_with_1(seeded: None, call: Call, sqlite_database: Database) -> None:
    argv = [sys.executable, str(SCRIPT), "fake", "--seeded", "--steps", "10", "--crash-at", "2"]
    change_entry_point(sqlite_database, argv=argv)
    words = ["trial", "fake@0", "--aa", "--steps", "4", "--metric", "loss", "--repeats", "1"]
    told = call(*words, "--slots", "2", "--json")
    assert told.code == 1 and told.json["state"] == "failed" and told.json["error"]
    assert [side["state"] for side in told.json["pairs"][0]["sides"]] == ["failed"] * 2


def test_a_detached_trial_returns_and_trains(
    seeded: None, call: Call, sqlite_database: Database
) -> None:
    told = call(*TRIAL, "--repeats", "3", "--slots", "3", "--detach", "--json").json
    assert told["state"] == "running"

    def is_settled() -> bool:
        with sqlite_database.read() as connection:
            return trials.get(connection, told["id"]).state == "settled"

    wait_until(is_settled)
    assert call("trials", told["id"][:8], "--json").json["verdict"] == "helps"


@pytest.mark.parametrize(
    "words",
    [
        ["trial"],
        ["trial", "demo@10", "--at", "demo@10", "--set", "lr=x0.5"],
        ["trial", "demo@10"],
        ["trial", "demo@10", "--set", "lr=x0.5", "--aa"],
        ["trial", "demo@10", "--set", "lr=x0.5", "--repeats", "0"],
        ["trial", "demo@10", "--set", "lr=x0.5", "--margin", "big"],
        ["trial", "demo@10", "--set", "lr=x0.5", "--metric", "nothing"],
        ["trial", "demo@10", "--set", "lr=x0.5", "--slots", "0"],
        ["trial", "nobody@10", "--set", "lr=x0.5"],
    ],
)
def test_what_cannot_be_tried_is_refused(
    call: Call, sqlite_database: Database, store: Store, words: list[str]
) -> None:
    samples.grown(sqlite_database, store)
    assert call(*words).code == 2
    with sqlite_database.read() as connection:
        run = runs.find_run(connection, "demo")
        assert trials.of_run(connection, run.id) == []


def test_a_dry_run_says_what_is_trained_at_most(
    call: Call, sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    words = ["trial", "--at", "demo@10,demo@20", "--set", "lr=x0.5,x3", "--steps", "5", "--dry-run"]
    told = call(*words)
    assert told.code == 0 and "would try lr=x0.5; lr=x3 by eval_loss" in told.out
    assert "24 trainings of 5 updates at most: 120 updates" in told.out
    assert "judged after 4, 6, 8 pairs" in told.out and "Nothing was created" in told.out
    assert json.loads(call(*words, "--json").out)["launches"] == 24
    grid = ["trial", "demo@10", "--grid", "lr=x0.5,x3", "weight_decay=0.1", "--dry-run", "--json"]
    assert json.loads(call(*grid).out)["changes"] == [
        "lr=x0.5 weight_decay=0.1",
        "lr=x3 weight_decay=0.1",
    ]
    assert call("trials", "demo", "--json").json == []

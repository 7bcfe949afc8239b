"""The command `review`: which of a run's changes helped."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db.engine import Database
from tests.cli.conftest import Call, train_here
from tests.control.trials import samples
from tests.trees_for_tests import make_tree


def test_a_dry_run_lists_the_changes_and_what_they_cost(
    call: Call, sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    told = call("review", "demo", "--steps", "5", "--repeats", "4", "--dry-run")
    assert told.code == 0 and "lr 0.01 → 0.02" in told.out and "not tried" in told.out
    assert "would make 1 trial of 40 updates at most" in told.out
    payload = call("review", "demo", "--steps", "5", "--dry-run", "--budget", "9", "--json").json
    assert payload["steps"] == 0 and "budget" in payload["changes"][0]["why"]
    assert call("trials", "demo", "--json").json == []


def test_a_run_without_changes_has_nothing_to_review_and_no_run_is_refused(
    call: Call, sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store)
    told = call("review", "demo")
    assert told.code == 0 and "Nothing to review" in told.out
    assert call("review", "nobody").code == 2
    assert call("review", "demo", "--budget", "0").code == 2


def test_every_change_is_trained_to_its_verdict_once(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--seeded", "--steps", "10")
    assert call("resume", "fake@0", "--set", "lr=0.5", "--name", "hot", "--json").code == 0
    words = ["review", "fake", "--steps", "4", "--repeats", "3", "--metric", "loss", "--slots", "3"]
    told = call(*words)
    assert told.code == 0 and "0 helped, 1 hurt, 0 without effect, 0 inconclusive" in told.out
    again = call(*words, "--json").json
    assert again["steps"] == 0 and [row["verdict"] for row in again["changes"]] == ["hurts"]
    assert len(call("trials", "fake", "--json").json) == 1

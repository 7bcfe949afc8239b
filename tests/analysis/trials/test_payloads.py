"""Trials and reviews as JSON: the numbers so far, and a verdict when there is one."""

from __future__ import annotations

from typing import Any

from branchtrack.analysis.trials import payloads
from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.planning import TrialOrder, plan_trial
from branchtrack.control.trials.review import plan_review
from branchtrack.core.trials.records import Trial
from branchtrack.db.engine import Database
from branchtrack.schemas import trials as models
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


def shown(database: Database, trial: Trial) -> dict[str, Any]:
    """A trial as JSON, which is as the API's document says."""
    with database.read() as connection:
        payload = payloads.trial(connection, trial)
    models.Trial.model_validate(payload)
    return payload


def test_a_trial_that_trains_is_pending(sqlite_database: Database, store: Store) -> None:
    _tree, nodes = samples.grown(sqlite_database, store)
    payload = shown(sqlite_database, samples.ordered(sqlite_database, store))
    assert (payload["state"], payload["verdict"], payload["effect"]) == ("running", "pending", None)
    assert payload["nodes"] == [{"id": nodes[1].id, "step": 10}]
    assert (payload["trained_steps"], payload["most_steps"]) == (0, 40)
    assert [pair["values"] for pair in payload["pairs"]] == [[None, None]] * 3


def test_what_pairs_show_so_far_is_there_before_the_verdict(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    for pair, row in zip(trial.pairs[:2], CLEAR[:2], strict=True):
        for side, value in zip(pair.sides, row, strict=True):
            assert side is not None
            samples.train(sqlite_database, store, side.launch, value)
    payload = shown(sqlite_database, samples.advance(sqlite_database, store, trial.id))
    assert payload["verdict"] == "pending" and payload["effect"] < 0


def test_a_settled_trial_has_its_verdict_and_its_pairs(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    payload = shown(sqlite_database, samples.train_all(sqlite_database, store, trial, *CLEAR))
    (change,) = payload["changes"]
    assert payload["verdict"] == change["verdict"] == change["words"] == "helps"
    assert payload["low"] < payload["effect"] < payload["high"] < 0
    assert 0.95 < change["coverage"] < 1 and payload["trained_steps"] == 30
    first = payload["pairs"][0]
    assert (first["control"], first["changed"]) == CLEAR[0]
    assert [side["state"] for side in first["sides"]] == ["done", "done"]


def test_a_trial_of_nothing_shows_its_floor(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store, same=True, repeats=1)
    payload = shown(
        sqlite_database, samples.train_all(sqlite_database, store, trial, (2.0, 2.0625))
    )
    assert (payload["kind"], payload["floor"]) == ("aa", 0.0625)


def test_a_preview_counts_what_is_trained_at_most(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    order = TrialOrder(["demo@10"], {"lr": ["x0.5", "x3"]}, steps=5, metric="eval_loss")
    with sqlite_database.read() as connection:
        preview = payloads.preview(plan_trial(connection, order).spec)
    models.TrialPreview.model_validate(preview)
    assert (preview["most_steps"], preview["launches"]) == (8 * 3 * 5, 24)
    assert preview["changes"] == ["lr=x0.5", "lr=x3"]


def test_a_review_counts_verdicts_by_author(sqlite_database: Database, store: Store) -> None:
    _tree, nodes = samples.grown(sqlite_database, store)
    with sqlite_database.read() as connection:
        before = payloads.review(plan_review(connection, "demo", steps=5))
    assert before["untried"] == 1 and before["changes"][0]["verdict"] is None
    order = {"nodes": [nodes[2].id], "intervention": True}
    trial = samples.ordered(sqlite_database, store, **order)
    samples.train_all(sqlite_database, store, trial, *CLEAR)
    with sqlite_database.read() as connection:
        after = payloads.review(plan_review(connection, "demo", steps=5))
    models.Review.model_validate({**after, "steps": 0})
    (row,) = after["changes"]
    assert (row["node"], row["trial"], row["text"]) == (nodes[2].id, trial.id, "lr 0.01 → 0.02")
    assert after["helped"] == 1 and after["authors"][row["actor"]]["helped"] == 1

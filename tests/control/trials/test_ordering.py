"""A trial is checked as a whole before any of it is queued, and leaves nothing if it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.ordering import create_trial, preview_trial
from branchtrack.control.trials.planning import TrialOrder
from branchtrack.core.actors import Actor
from branchtrack.db import requests, runs
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, Forbidden, InvalidInput
from tests.control.samples import row_counts
from tests.control.trials import samples

AGENT = Actor("bot", "agent", "api", token_id="t" * 16)


def order(**more: Any) -> TrialOrder:
    plan = {"nodes": ["demo@10"], "settings": {"lr": "x0.5"}, "steps": 5, "repeats": 4, **more}
    return TrialOrder(**plan)


@pytest.fixture(autouse=True)
def _run(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)


def test_a_preview_says_what_it_would_train_and_stores_nothing(
    sqlite_database: Database, store: Store
) -> None:
    before = row_counts(sqlite_database)
    planned = preview_trial(sqlite_database, store, order(), actor="ann")
    assert planned.spec.most_steps == 4 * 2 * 5
    assert row_counts(sqlite_database) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": {"lr": "-1"}},
        {"settings": {"lr": "fast"}},
        {"settings": {"speed": 3}},
        {"settings": {"lr": "x0.5,fast"}},
        {"nodes": ["demo@10", "feedfeed"]},
        {"priority": 10**9},
        {"labels": ["a b"]},
    ],
)
def test_what_is_wrong_anywhere_leaves_nothing(
    sqlite_database: Database, store: Store, wrong: dict[str, Any]
) -> None:
    before = row_counts(sqlite_database)
    with pytest.raises(BranchtrackError):
        create_trial(sqlite_database, store, order(**wrong), actor="ann")
    assert row_counts(sqlite_database) == before


def test_a_viewer_may_not_order_one(sqlite_database: Database, store: Store) -> None:
    with pytest.raises(Forbidden):
        create_trial(sqlite_database, store, order(), actor=Actor("eve", "viewer", "web"))


def test_an_agent_has_to_say_why(sqlite_database: Database, store: Store) -> None:
    with pytest.raises(InvalidInput) as caught:
        create_trial(sqlite_database, store, order(), actor=AGENT)
    assert caught.value.field == "reason"


def test_a_trial_of_a_token_is_one_request_of_it(sqlite_database: Database, store: Store) -> None:
    trial = create_trial(sqlite_database, store, order(), actor=AGENT, reason="it may help")
    with sqlite_database.read() as connection:
        run = runs.find_run(connection, "demo")
        (request,) = requests.list_of_run(connection, run.id, None)
    assert (request.state, request.result) == ("done", {"trial": trial.id})
    assert request.payload["trial"]["repeats"] == 4 and trial.actor == "bot (agent)"


def test_a_refused_trial_of_a_token_is_recorded(sqlite_database: Database, store: Store) -> None:
    wrong = order(settings={"lr": "fast"})
    with pytest.raises(InvalidInput):
        create_trial(sqlite_database, store, wrong, actor=AGENT, reason="it may help")
    with sqlite_database.read() as connection:
        run = runs.find_run(connection, "demo")
        (request,) = requests.list_of_run(connection, run.id, None)
    assert request.state == "rejected"

"""All changes of a run are tried, within a budget; what has a verdict is not tried again."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.review import Reviewed, order_review, plan_review
from branchtrack.core.records import Change
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR
from tests.trees_for_tests import make_tree


@pytest.fixture(autouse=True)
def _run(sqlite_database: Database, store: Store) -> None:
    tree, (_root, _ten, twenty) = samples.grown(sqlite_database, store)
    again = (Change("lr", 0.02, 0.005),)
    settings = {**samples.OWN, "lr": 0.005}
    thirty = tree.node("main", 30, twenty, kind="intervention", changes=again, settings=settings)
    noted = (Change("lr", 0.005, 0.001), Change("note", None, "hm"))
    tree.node("main", 31, thirty, kind="intervention", changes=noted, settings=samples.OWN)


def planned(database: Database, **how: Any) -> list[Reviewed]:
    with database.read() as connection:
        return plan_review(connection, "demo", **{"steps": 5, "repeats": 3, **how})


def test_every_change_has_its_trial_or_why_it_has_none(sqlite_database: Database) -> None:
    first, second, third = planned(sqlite_database)
    assert [row.node.step for row in (first, second, third)] == [20, 30, 31]
    assert first.order is not None and first.order.intervention
    assert (first.steps, second.steps) == (3 * 2 * 5,) * 2
    assert third.order is None and "cannot be taken back" in third.why


def test_a_budget_tries_the_first_changes(sqlite_database: Database) -> None:
    first, second, _ = planned(sqlite_database, budget=45)
    assert first.order is not None and second.order is None
    assert "30 updates, and 15 are left" in second.why


def test_what_was_tried_is_not_tried_again_unless_it_is_asked_for(
    sqlite_database: Database, store: Store
) -> None:
    rows = order_review(sqlite_database, store, planned(sqlite_database), actor="ann")
    trial = rows[0].trial
    assert trial is not None and trial.subject == rows[0].node.id
    samples.train_all(sqlite_database, store, trial, *CLEAR)
    first, second, _ = planned(sqlite_database)
    assert first.order is second.order is None
    assert first.trial is not None and first.trial.state == "settled"
    again, _, _ = planned(sqlite_database, again=True)
    assert again.order is not None


def test_branches_of_trials_are_not_reviewed_themselves(
    sqlite_database: Database, store: Store
) -> None:
    order_review(sqlite_database, store, planned(sqlite_database), actor="ann")
    assert len(planned(sqlite_database)) == 3


def test_trials_are_as_long_as_the_training_goes_on(sqlite_database: Database) -> None:
    first, *_ = planned(sqlite_database, steps=10_000)
    assert first.order is not None and first.order.steps == 980


def test_a_run_without_changes_has_an_empty_review_and_a_budget_of_nothing_is_refused(
    sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store, "empty")
    with sqlite_database.read() as connection:
        assert plan_review(connection, "empty", steps=5) == []
    with pytest.raises(InvalidInput) as caught:
        planned(sqlite_database, budget=0)
    assert caught.value.field == "budget"


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"repeats": 2}, "repeats"),
        ({"metric": "zz"}, "metric"),
        ({"margin": "5%%"}, "margin"),
    ],
)
def test_what_no_trial_can_be_made_with_is_refused_once(
    sqlite_database: Database, how: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        planned(sqlite_database, **how)
    assert caught.value.field == field

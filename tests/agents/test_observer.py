"""Runs as agents see them."""

from __future__ import annotations

import math

import pytest

from branchtrack import control
from branchtrack.agents import observer
from branchtrack.checkpoints.packs import Store
from branchtrack.core.agents.policies.guard import GuardOptions, find_divergence
from branchtrack.db import runs
from branchtrack.db.engine import Database
from tests.agents.benches import look
from tests.control.samples import SET_LR
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR
from tests.trees_for_tests import make_forked_tree, make_tree


def test_a_view_has_the_line_the_curve_and_the_siblings(database: Database, store: Store) -> None:
    make_forked_tree(database, store)
    seen = look(database, "demo/cooler")
    assert [node.step for node in seen.nodes] == [0, 10, 10, 20]
    assert list(seen.curve("loss").points())[9:11] == [(10, 10.0), (11, 111.0)]
    (main,) = seen.siblings
    assert (main.name, main.forked_at, main.metrics["loss"]) == ("main", None, 30.0)
    assert seen.own is not None
    assert (seen.own.parent, seen.own.forked_at) == ("main", 10)
    assert seen.own.changes == {"lr": 0.001}
    assert (seen.status, seen.max_steps, seen.settings["lr"]) == ("running", 1000, 0.01)
    assert seen.declared["lr"].live and seen.is_live


def test_only_the_metrics_that_are_wanted_are_read(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    tree.points("main", "loss", range(1, 4))
    tree.points("main", "speed", range(1, 4))
    assert set(look(sqlite_database).curves) == {"loss", "speed"}
    with sqlite_database.read() as connection:
        branch = runs.find_branch(connection, "demo")
        assert set(observer.observe(connection, branch, ["loss"]).curves) == {"loss"}


def test_what_was_tried_is_seen_with_its_state(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    control.submit(sqlite_database, "demo", SET_LR, actor="ann", reason="why")
    (tried,) = look(sqlite_database).tried
    assert (tried["who"], tried["state"], tried["reason"]) == ("ann", "accepted", "why")


def test_a_branch_that_nothing_trained_is_seen(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    tree.branch("later", train=False)
    seen = look(sqlite_database, "demo/later")
    assert (seen.status, seen.is_live, len(seen.curve("loss"))) == ("waiting", False, 0)


def test_the_updates_of_a_run_are_counted(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        assert observer.run_steps(connection, tree.branches["main"]) == 0


def test_a_metric_that_the_run_has_not_logged_is_a_warning_with_those_it_has(
    database: Database, store: Store
) -> None:
    def warning(metric: str) -> str:
        with database.read() as connection:
            branch = runs.find_branch(connection, "demo")
            return observer.metric_warning(connection, branch, metric)

    tree = make_tree(database, store)
    assert warning("nope") == ""
    tree.points("main", "loss", range(1, 4))
    assert warning("loss") == ""
    assert warning("nope") == "demo has logged no metric 'nope' yet. It has loss."
    for number in range(13):
        tree.points("main", f"a{number:02}", range(1, 2))
    assert warning("nope").endswith("a10, a11 and 2 more.")


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_curve_that_went_bad_long_ago_has_the_step_since_which_it_is(
    database: Database, store: Store, bad: str
) -> None:
    tree = make_tree(database, store)
    steps = range(1, 11 + observer.MOST_POINTS + 500)
    values = [1.0 if step <= 10 else float(bad) for step in steps]
    # One that was bad before and has mended does not count.
    values[4] = float(bad)
    tree.points("main", "loss", steps, values)
    curve = look(database).curve("loss")
    assert list(curve.steps[:2]) == [11, steps[-observer.MOST_POINTS]]
    divergence = find_divergence(curve, GuardOptions())
    assert divergence is not None and divergence.step == 11
    assert divergence.what.endswith("since step 11")


def test_a_curve_that_was_never_good_is_bad_since_its_first_point(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    steps = range(1, observer.MOST_POINTS + 20)
    tree.points("main", "loss", steps, [math.nan for _ in steps])
    curve = look(sqlite_database).curve("loss")
    assert (curve.steps[0], len(curve)) == (1, observer.MOST_POINTS + 1)


def test_of_a_long_curve_the_newest_points_alone_are_seen(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    steps = range(1, observer.MOST_POINTS + 20)
    tree.points("main", "loss", steps, [math.nan if step < 10 else 1.0 for step in steps])
    curve = look(sqlite_database).curve("loss")
    assert (curve.steps[0], len(curve)) == (20, observer.MOST_POINTS)


def test_the_verdicts_of_trials_are_seen_and_their_branches_are_not(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    seen = look(sqlite_database)
    assert [each.line for each in seen.trials] == ["trial of lr=x0.5 at step 10: pending"]
    assert seen.siblings == []
    samples.train_all(sqlite_database, store, trial, *CLEAR)
    (tried,) = look(sqlite_database).trials
    assert (tried.change, tried.steps, tried.metric) == ("lr=x0.5", [10], "eval_loss")
    assert tried.verdict == "helps" and tried.effect is not None and tried.effect < 0
    assert "helps, eval_loss -" in tried.line and look(sqlite_database).siblings == []


def test_a_branch_of_a_trial_sees_itself(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    name = samples.branches_of(samples.ordered(sqlite_database, store))[0]
    seen = look(sqlite_database, f"demo/{name}")
    assert seen.own is not None and seen.own.name == name
    assert [each.name for each in seen.siblings] == ["main"]

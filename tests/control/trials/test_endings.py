"""A training of a trial is done when it has the metric at its end; else it says what is missing."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.advancing import advance
from branchtrack.core.launchers import profiles
from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.core.trials.records import Side, Trial
from branchtrack.db import metrics, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches, queue
from tests.control.trials import samples


@pytest.fixture
def trial(sqlite_database: Database, store: Store) -> Trial:
    samples.grown(sqlite_database, store)
    return samples.ordered(sqlite_database, store, repeats=3)


def first(database: Database, store: Store, trial: Trial) -> Side:
    side = advance(database, store, trial.id).pairs[0].sides[0]
    assert side is not None
    return side


def launch_of(trial: Trial) -> str:
    side = trial.pairs[0].sides[0]
    assert side is not None
    return side.launch


def test_the_value_is_the_last_one_up_to_the_end(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    samples.train(sqlite_database, store, launch_of(trial), 1.5)
    with sqlite_database.transaction() as connection:
        launch = launches.get(connection, launch_of(trial))
        # What somebody trained on from there is no part of it.
        metrics.append(connection, launch.segment_id, [("eval_loss", 40, 9.0, 1e9)])
    side = first(sqlite_database, store, trial)
    assert (side.state, side.value) == ("done", 1.5) and len(side.digest) == 64


def test_a_value_that_is_no_number_is_a_divergence(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    samples.train(sqlite_database, store, launch_of(trial), None)
    side = first(sqlite_database, store, trial)
    assert (side.state, side.value) == ("diverged", None)


def test_one_that_was_cancelled_is_not_trained_again(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    with sqlite_database.transaction() as connection:
        queue.cancel(connection, launch_of(trial), "ann")
    side = first(sqlite_database, store, trial)
    assert side.state == "failed" and "Cancelled by ann" in side.error


def test_one_that_ended_early_says_where(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    with sqlite_database.transaction() as connection:
        launch = launches.get(connection, launch_of(trial))
        launches.move(connection, launch.id, "starting", "w", worker="w")
        launches.move(connection, launch.id, "running", "w", pid=1)
        segments.take(
            connection, launch.segment_id, actor="w", declared=[], settings={}, max_steps=1000
        )
        segments.end(connection, launch.segment_id, "stopped", actor="w")
        launches.move(connection, launch.id, "ended", "w", exit_code=0)
    side = first(sqlite_database, store, trial)
    assert side.state == "failed" and side.error == "It ended at step 10, before step 15."


def test_one_whose_job_may_run_again_is_waited_for(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    launcher = profiles.launcher("slurm", "slurm", ["-p", "main"])
    trial = samples.ordered(sqlite_database, store, repeats=3, launcher=launcher)
    with sqlite_database.transaction() as connection:
        launch = launches.get(connection, launch_of(trial))
        assert launch.launcher == launcher
        launches.move(connection, launch.id, "starting", "w", **jobs.of_claim("1", "n01"))
        launches.move(connection, launch.id, "running", "w", pid=1)
        how = {"actor": "w", "declared": [], "settings": {}, "max_steps": 1000}
        segments.take(connection, launch.segment_id, **how)
        segments.end(connection, launch.segment_id, "stopped", actor="w")
        launches.move(connection, launch.id, "ended", "w", exit_code=143)
    assert first(sqlite_database, store, trial).state == "ordered"
    with sqlite_database.transaction() as connection:
        launch = launches.get(connection, launch_of(trial))
        jobs.saw(connection, launch, JobStatus("1", "n", "TIMEOUT"))
    assert first(sqlite_database, store, trial).state == "failed"


def test_one_that_still_waits_is_as_it_was(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    assert first(sqlite_database, store, trial) == trial.pairs[0].sides[0]


def test_repeats_that_drew_nothing_are_told_by_their_weights_and_not_by_their_seeds(
    sqlite_database: Database, store: Store, trial: Trial
) -> None:
    """The state of a fork has its seed, so that two repeats differ though they are the same."""
    for pair in trial.pairs:
        for side, value in zip(pair.sides, (2.0, 1.9), strict=True):
            assert side is not None
            weights = 1 if value == 2.0 else 2
            samples.train(sqlite_database, store, side.launch, value, state=weights, seed=pair.seed)
    (verdict,) = advance(sqlite_database, store, trial.id).verdicts
    assert verdict is not None and (verdict.verdict, verdict.pairs) == ("inconclusive", 1)

"""Trials carried out: by whoever looks on, by a worker, and by another one after a kill."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.control.trials.ordering import create_trial
from branchtrack.control.trials.planning import TrialOrder
from branchtrack.core.trials.records import Trial
from branchtrack.db import integrity, runs, seals, tables
from branchtrack.db.engine import Database
from branchtrack.db.orders import trials
from branchtrack.launching.trials import run_trials
from branchtrack.launching.worker import Worker
from tests.launching.helpers import branchtrack, train_fake, wait_until


@pytest.fixture
def seeded(config: Config) -> None:
    """A run ``tried`` whose loss depends on its lr, and a little on its seed."""
    train_fake(config, "--seeded", "--steps", "10", name="tried")


def slow(database: Database, seconds: float) -> None:
    """Have the trainings of trials of the run take so long for each step."""
    with database.transaction() as connection:
        run = runs.find_run(connection, "tried")
        argv = [*(run.entry_point or {})["argv"], "--seconds", str(seconds)]
        changed = {**(run.entry_point or {}), "argv": argv}
        table = tables.runs
        connection.execute(table.update().where(table.c.id == run.id).values(entry_point=changed))
        seals.renew(connection, table, run.id)


def ordered(database: Database, store: Store, **order: Any) -> Trial:
    """A trial of lr=x0.5 from the beginning of the run."""
    plan: dict[str, Any] = {"nodes": ["tried@0"], "steps": 4, "repeats": 4, "metric": "loss"}
    if not order.get("same"):
        plan["settings"] = {"lr": "x0.5"}
    return create_trial(database, store, TrialOrder(**{**plan, **order}), actor="ann")


def reread(database: Database, trial: Trial) -> Trial:
    with database.read() as connection:
        return trials.get(connection, trial.id)


def check_whole(database: Database, trial: Trial) -> None:
    """Every pair has both values, was trained once, and the record is whole."""
    assert trial.state == "settled", trial
    (verdict,) = trial.verdicts
    assert verdict is not None and verdict.verdict == "helps"
    assert [pair.number for pair in trial.pairs] == [1, 2, 3]
    assert all(pair.difference(0) is not None for pair in trial.pairs)
    with database.read() as connection:
        branches = runs.list_branches(connection, trial.run_id)
        assert len(branches) == 1 + 2 * len(trial.pairs)
        assert integrity.of_database(connection) == []


def test_who_looks_on_sees_pairs_come_in_until_it_is_settled(
    seeded: None, database: Database, store: Store, config: Config
) -> None:
    trial, seen = ordered(database, store), list[int]()

    def watch(current: Sequence[Trial]) -> None:
        seen.append(sum(pair.is_over for each in current for pair in each.pairs))

    worker = Worker(database, config, slots=3)
    (ended,) = run_trials(worker, [trial.id], watch)
    check_whole(database, ended)
    assert seen == sorted(seen) and (seen[0], seen[-1]) == (0, 3)
    assert worker.children == {}


def test_a_repeat_of_the_same_ends_in_the_same_bits(
    seeded: None, database: Database, store: Store, config: Config
) -> None:
    trial = ordered(database, store, same=True, repeats=1)
    (ended,) = run_trials(Worker(database, config, slots=2), [trial.id], lambda _: None)
    (verdict,) = ended.verdicts
    assert ended.floor == 0.0 and verdict is not None
    assert (verdict.verdict, verdict.why.split(" with")[0]) == ("none", "the same bits")


def test_after_the_kill_of_who_looked_on_another_goes_on_and_no_pair_is_lost(
    seeded: None, database: Database, store: Store, config: Config
) -> None:
    slow(database, 0.2)
    command = "trial tried@0 --set lr=x0.5 --steps 4 --repeats 4 --metric loss --slots 2".split()

    def is_half_done() -> bool:
        with database.read() as connection:
            listed = trials.running(connection)
        sides = [side for trial in listed for pair in trial.pairs for side in pair.sides]
        return any(side is not None and side.is_over for side in sides)

    with branchtrack(config, *command) as process:
        wait_until(is_half_done)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with database.read() as connection:
        (trial,) = trials.running(connection)
    (ended,) = run_trials(Worker(database, config, slots=2), [trial.id], lambda _: None)
    check_whole(database, ended)
    assert {side.attempts for pair in ended.pairs for side in pair.sides if side} == {1}


def test_a_training_that_is_killed_is_made_again(
    seeded: None, database: Database, store: Store, config: Config
) -> None:
    slow(database, 0.2)
    trial, killed = ordered(database, store), list[int]()
    worker = Worker(database, config, slots=2)

    def kill_once(_current: Sequence[Trial]) -> None:
        for child in [] if killed else list(worker.children.values()):
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)
            break

    (ended,) = run_trials(worker, [trial.id], kill_once)
    assert ended.state == "settled" and all(p.difference(0) is not None for p in ended.pairs)
    attempts = [side.attempts for pair in ended.pairs for side in pair.sides if side]
    assert sorted(attempts) == [1, 1, 1, 1, 1, 2]


def test_a_worker_carries_a_detached_trial_to_its_end(
    seeded: None, database: Database, store: Store, config: Config
) -> None:
    trial = ordered(database, store)
    with branchtrack(config, "worker", "--once", "--slots", "2") as process:
        _out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    check_whole(database, reread(database, trial))


def test_two_workers_at_once_queue_each_pair_once(
    seeded: None, database: Database, store: Store, config: Config
) -> None:
    trial = ordered(database, store)
    other = Worker(database, config)
    thread = threading.Thread(target=other.run, args=(threading.Event(),), kwargs={"once": True})
    thread.start()
    (ended,) = run_trials(Worker(database, config), [trial.id], lambda _: None)
    thread.join()
    check_whole(database, ended)

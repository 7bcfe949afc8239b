"""Trials carried out in the foreground: their trainings, and their next pairs, until all are over.

It must not know terminals: the caller is given the trials at every look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from branchtrack.checkpoints.location import open_store
from branchtrack.control.trials.advancing import advance
from branchtrack.core.trials.records import RUNNING, Trial
from branchtrack.db.orders import launches
from branchtrack.launching.worker import POLL, RECOVER_EVERY, Worker

Watch = Callable[[Sequence[Trial]], None]


def run_trials(worker: Worker, trial_ids: Sequence[str], watch: Watch) -> list[Trial]:
    """Carry out trials, as many trainings at a time as the worker has slots, and return them.

    ``watch`` is called with them at every look. Trainings that another worker has are watched; if
    it dies, this one takes over.
    """
    store, looked = open_store(worker.config.store), time.monotonic()
    try:
        while True:
            worker.look()
            current = [advance(worker.database, store, trial_id) for trial_id in trial_ids]
            # Launches of others are looked after, and told of, by others.
            worker.shepherd.only = _launches(current)
            worker.shepherd.look()
            queued = _queued(worker, current)
            for launch_id in queued[: max(0, worker.slots - len(worker.children))]:
                worker.claim(launch_id)
            watch(current)
            if all(trial.state != RUNNING for trial in current):
                return current
            if time.monotonic() - looked > RECOVER_EVERY:
                looked = time.monotonic()
                for launch_id in _ordered(current):
                    worker.recover(launch_id)
            time.sleep(POLL)
    finally:
        if not worker.children:
            worker.leave()


def _launches(trials: Sequence[Trial]) -> list[str]:
    """Return the launches of all sides, also of those that are over: their jobs may not be."""
    pairs = [pair for trial in trials for pair in trial.pairs]
    return [side.launch for pair in pairs for side in pair.sides if side and side.launch]


def _ordered(trials: Sequence[Trial]) -> list[str]:
    """Return the launches of sides that are not over, in the order of trials and pairs."""
    return [
        side.launch
        for trial in trials
        for pair in trial.pairs
        for side in pair.sides
        if side is not None and not side.is_over and side.launch
    ]


def _queued(worker: Worker, trials: Sequence[Trial]) -> list[str]:
    """Return those of them that nobody has started."""
    listed = _ordered(trials)
    with worker.database.read() as connection:
        states = launches.states(connection, listed)
    return [launch_id for launch_id in listed if states.get(launch_id) == "queued"]

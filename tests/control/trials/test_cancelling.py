"""A cancelled trial concludes nothing that was not judged before, and trains nothing more."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.advancing import advance, advance_all
from branchtrack.control.trials.cancelling import cancel_trial
from branchtrack.core.actors import Actor
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import Forbidden, InvalidInput
from tests.control.trials import samples


def test_what_waits_is_taken_out_of_the_queue(database: Database, store: Store) -> None:
    samples.grown(database, store)
    trial = samples.ordered(database, store)
    for side, value in zip(trial.pairs[0].sides, (2.0, 1.9), strict=True):
        assert side is not None
        samples.train(database, store, side.launch, value)
    advance(database, store, trial.id)
    cancelled = cancel_trial(database, trial.id[:6], actor="ann")
    assert (cancelled.state, cancelled.error) == ("cancelled", "Cancelled by ann.")
    (verdict,) = cancelled.verdicts
    assert verdict is not None and (verdict.verdict, verdict.pairs) == ("inconclusive", 1)
    assert verdict.why == "it was cancelled before it was judged"
    states = {side.state for pair in cancelled.pairs for side in pair.sides if side}
    assert states == {"done", "failed"}
    with database.read() as connection:
        assert launches.unfinished(connection) == []
    assert advance_all(database, store) == []


def test_a_trial_that_is_over_is_not_cancelled(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    cancel_trial(sqlite_database, trial.id, actor="ann")
    with pytest.raises(InvalidInput, match="too late"):
        cancel_trial(sqlite_database, trial.id, actor="ann")


def test_an_agent_cancels_its_own_trials_only(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    with pytest.raises(Forbidden, match="its own trials"):
        cancel_trial(sqlite_database, trial.id, actor=Actor("bot", "agent", "api"), reason="no")

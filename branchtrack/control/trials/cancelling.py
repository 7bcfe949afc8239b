"""A trial that is no longer wanted: its trainings are taken out of the queue, or ended."""

from __future__ import annotations

from dataclasses import replace

from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.trials.outcomes import unjudged
from branchtrack.core.trials.records import CANCELLED, LOST, RUNNING, Pair, Trial
from branchtrack.db.engine import Database
from branchtrack.db.orders import queue, trials
from branchtrack.errors import InvalidInput


def cancel_trial(database: Database, ref: str, *, actor: Actor | str, reason: str = "") -> Trial:
    """Cancel a trial; what its complete pairs show so far is its result.

    Raises:
        NotFound, Ambiguous: no such trial. Forbidden: the actor may not cancel it.
        InvalidInput: it is over.
    """
    database.check_writable()
    who = actors.of(actor)
    with database.transaction() as connection:
        trial = trials.find(connection, ref)
        actors.check(who, "cancel", ["resume"])
        actors.check_author(who, trial.actor, f"order trial {trial.id}", "trials")
        if trial.state != RUNNING:
            what = f"Trial {trial.id} is {trial.state}: it is too late to cancel it."
            raise InvalidInput("trial", trial.id, "a trial that is not over", what=what)
        for pair in trial.pairs:
            for side in pair.sides:
                if side is not None and side.launch and not side.is_over:
                    queue.cancel(connection, side.launch, who.label)
        why = "it was cancelled before it was judged"
        saved = trials.save(
            connection,
            trial,
            pairs=[_ended(pair) for pair in trial.pairs],
            verdicts=unjudged(trial, trial.pairs, why),
            state=CANCELLED,
            error=reason or f"Cancelled by {who.label}.",
            actor=who.label,
        )
        # The row was read in this transaction; on PostgreSQL another may still have come first.
        return trials.get(connection, trial.id) if saved is None else saved


def _ended(pair: Pair) -> Pair:
    """Return a pair of which nothing more is expected."""
    sides = (
        side if side is None or side.is_over else replace(side, state=LOST, error="Cancelled.")
        for side in pair.sides
    )
    return replace(pair, sides=tuple(sides))

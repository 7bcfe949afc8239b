"""A trial that is no longer wanted: its trainings are taken out of the queue, or ended."""

from __future__ import annotations

from branchtrack.control.text import clean_text
from branchtrack.control.trials.endings import end
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.trials.outcomes import unjudged
from branchtrack.core.trials.records import CANCELLED, CANCELLED_SIDE, RUNNING, Trial
from branchtrack.db.engine import Database
from branchtrack.db.orders import trials
from branchtrack.errors import InvalidInput


def cancel_trial(database: Database, ref: str, *, actor: Actor | str, reason: str = "") -> Trial:
    """Cancel a trial; a change that was not judged by then is inconclusive.

    Raises:
        NotFound, Ambiguous: no such trial. Forbidden: the actor may not cancel it.
        InvalidInput: it is over.
    """
    database.check_writable()
    cause, who = clean_text("reason", reason), actors.of(actor)
    with database.transaction() as connection:
        trial = trials.find(connection, ref)
        actors.check(who, "cancel", ["resume"])
        actors.check_author(who, trial.actor, f"order trial {trial.id}", "trials")
        if trial.state != RUNNING:
            what = f"Trial {trial.id} is {trial.state}: it is too late to cancel it."
            raise InvalidInput("trial", trial.id, "a trial that is not over", what=what)
        why = "it was cancelled before it was judged"
        saved = trials.save(
            connection,
            trial,
            pairs=end(connection, trial.pairs, who.label, CANCELLED_SIDE),
            verdicts=unjudged(trial, trial.pairs, why),
            state=CANCELLED,
            error=cause or f"Cancelled by {who.label}.",
            actor=who.label,
        )
        # The row was read in this transaction; on PostgreSQL another may still have come first.
        return trials.get(connection, trial.id) if saved is None else saved

"""The branches of a trial moved to the trash in one go; its verdict stays."""

from __future__ import annotations

from branchtrack.control import deletion
from branchtrack.control.deletion import Deletion
from branchtrack.control.text import clean_text
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.trials.records import RUNNING
from branchtrack.db import runs
from branchtrack.db.deletion import dependencies, trash
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, trials
from branchtrack.errors import InvalidInput


def remove_branches(
    database: Database, ref: str, *, actor: Actor | str, reason: str = ""
) -> Deletion:
    """Move all branches of a trial to the trash together, with those that grew from them.

    Raises:
        NotFound, Ambiguous: no such trial. Forbidden: the actor may not do it.
        InvalidInput: it still trains, or has no branches left.
    """
    database.check_writable()
    why, who = clean_text("reason", reason), actors.of(actor)
    actors.check(who, "delete", ["delete"])
    actors.check_reason(who, why)
    with database.transaction() as connection:
        trial = trials.find(connection, ref)
        run = runs.get_run(connection, trial.run_id)
        if trial.state == RUNNING:
            fix = f"`branchtrack trials {trial.id} --cancel` first"
            what = f"Trial {trial.id} still trains."
            raise InvalidInput("trial", trial.id, fix, what=what)
        members = groups.members(connection, trial.group_id) if trial.group_id else []
        ids = [branch.id for branch in members if not branch.trashed_at]
        below = dependencies.below(dependencies.of_run(connection, run.id), ids)
        chosen = dependencies.chosen(connection, run.id, below)
        listed = [branch for branch in chosen if not branch.trashed_at]
        if not listed:
            what = f"Trial {trial.id} has no branches left."
            raise InvalidInput("trial", trial.id, "a trial with branches", what=what)
        planned = deletion.of_branches(connection, run, listed)
        trash.put(connection, listed, actor=who.label, why=why or f"Branches of trial {trial.id}.")
    return planned

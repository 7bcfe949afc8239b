"""The winner of a trial kept: one of its branches becomes a branch of its own, under a name."""

from __future__ import annotations

import math

from sqlalchemy import Connection

from branchtrack.control.text import clean_text
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.names import valid_name
from branchtrack.core.records import Branch
from branchtrack.core.trials.judging import HELPS
from branchtrack.core.trials.records import DONE, Side, Trial
from branchtrack.db import labels, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, trials
from branchtrack.errors import InvalidInput, NotFound


def promote(
    database: Database, ref: str, name: str, *, actor: Actor | str, reason: str = ""
) -> Branch:
    """Take a branch out of its group, give it a name, and return it.

    ``ref`` is RUN/BRANCH, or the id of a trial: then its best branch with the change that helps.

    Raises:
        NotFound, Ambiguous: nothing has that name. NameTaken: the run has a branch of that name.
        InvalidInput: the branch belongs to no group, or nothing in the trial helped.
    """
    database.check_writable()
    why, who = clean_text("reason", reason), actors.of(actor)
    actors.check(who, "label", ["label"])
    actors.check_reason(who, why)
    valid_name(name)
    with database.transaction() as connection:
        branch = candidate(connection, ref)
        groups.remove_branch(connection, branch)
        labels.rename(connection, branch, name, actor=who.label, why=why)
        return runs.get_branch(connection, branch.id)


def candidate(connection: Connection, ref: str) -> Branch:
    """Return the branch that would be promoted.

    Raises:
        NotFound, Ambiguous, InvalidInput: as `promote`.
    """
    try:
        branch = runs.find_branch(connection, ref)
    except NotFound:
        branch = runs.get_branch(connection, best(trials.find(connection, ref)).branch_id)
    if branch.trashed_at is not None:
        raise runs.trashed_error("branch", branch.name)
    if branch.group_id is None:
        what = f"{branch.name} belongs to no group: it is a branch of its own already."
        raise InvalidInput("branch", ref, "a branch of a group, or the id of a trial", what=what)
    return branch


def best(trial: Trial) -> Side:
    """Return the best training with the change that helps most.

    Raises:
        InvalidInput: no change of the trial helps.
    """
    sign = -1 if trial.spec.higher_is_better else 1
    # Where the controls alone diverged there is no effect to be measured, and nothing better.
    helping = [
        (-math.inf if verdict.effect is None else sign * verdict.effect, arm)
        for arm, verdict in enumerate(trial.verdicts)
        if verdict is not None and verdict.verdict == HELPS
    ]
    if not helping:
        allowed = "a trial with a change that helps, or one of its branches by name: RUN/BRANCH"
        raise InvalidInput("trial", trial.id, allowed)
    arm = min(helping)[1]
    sides = [pair.sides[arm + 1] for pair in trial.pairs]
    done = [side for side in sides if side is not None and side.state == DONE]
    return min(done, key=lambda side: sign * (side.value or 0.0))

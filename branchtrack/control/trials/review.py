"""All changes of a run put to the trial, within a budget: which of them helped?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials import planning
from branchtrack.control.trials.ordering import create_trial
from branchtrack.control.trials.planning import TrialOrder, plan_trial
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node
from branchtrack.core.trials.records import GROUP, RUNNING, SETTLED, TrialHead
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, launches, trials
from branchtrack.errors import BranchtrackError, CodeChanged, InvalidInput

#: The repeats of each trial of a review; fewer than a trial by itself, for there are several.
REPEATS = 6
_KINDS = ("intervention", "fork")


@dataclass(frozen=True)
class Reviewed:
    """A change of a run: its node and branch, the trial of it if there is one, or why it has none.

    ``order`` is the trial that a review would order, ``steps`` what that trains at most.
    """

    node: Node
    branch: str
    trial: TrialHead | None = None
    order: TrialOrder | None = None
    steps: int = 0
    why: str = ""


def plan_review(
    connection: Connection,
    run_ref: str,
    *,
    steps: int,
    repeats: int = REPEATS,
    metric: str | None = None,
    margin: float | str | None = None,
    budget: int | None = None,
    again: bool = False,
) -> list[Reviewed]:
    """Return the changes of a run in their order, each with its trial or the one to be ordered.

    ``budget`` is the most updates that all new trials together may train: the first changes are
    tried. A trial that there is counts, unless it is to be made ``again``.

    Raises:
        NotFound, Ambiguous: no such run. InvalidInput: naming what no trial could be made with.
    """
    if budget is not None and budget < 1:
        raise InvalidInput("budget", budget, "a number of updates, 1 or more")
    run = runs.find_run(connection, run_ref)
    order = TrialOrder((), steps=steps, repeats=repeats, metric=metric, margin=margin)
    planning.check_size(order)
    listed = changes_of(connection, run.id)
    if listed:
        planning.check_measure(connection, order, listed[0][0])
    known = trials.of_nodes(connection, [node.id for node, _ in listed])
    reviewed, left = [], budget
    for node, branch in listed:
        row = Reviewed(node, branch, known.get(node.id))
        if row.trial is not None and row.trial.state in (RUNNING, SETTLED) and not again:
            reviewed.append(row)
            continue
        row = _planned(connection, row, order, left)
        left = left if left is None else left - row.steps
        reviewed.append(row)
    return reviewed


def order_review(
    database: Database,
    store: Store,
    reviewed: Sequence[Reviewed],
    *,
    actor: Actor | str,
    reason: str = "",
    allow_code_change: bool = True,
) -> list[Reviewed]:
    """Order the trials that a review plans, and return its rows with them.

    A trial that is refused leaves the others as they are; its row says why.

    Raises:
        Forbidden: the actor may order none. InvalidInput: an agent gave no reason.
        CodeChanged: as `create_trial`; the trials before it are ordered.
    """
    who = actors.of(actor)
    actors.check(who, "launch", ["resume"])
    actors.check_reason(who, reason)
    rows = []
    for row in reviewed:
        if row.order is not None:
            try:
                trial = create_trial(
                    database,
                    store,
                    row.order,
                    actor=actor,
                    reason=reason,
                    allow_code_change=allow_code_change,
                )
                row = replace(row, trial=trial, order=None)
            except CodeChanged:
                raise
            except BranchtrackError as error:
                row = replace(row, trial=None, order=None, why=str(error))
        rows.append(row)
    return rows


def changes_of(connection: Connection, run_id: str) -> list[tuple[Node, str]]:
    """Return the nodes of a run that changed something, with the names of their branches.

    What a trial tried is not among them, though its winner was promoted.
    """
    tried = {group.id for group in groups.of_run(connection, run_id) if group.kind == GROUP}
    branches = {
        branch.id: branch.name
        for branch in runs.list_branches(connection, run_id)
        if branch.group_id not in tried and branch.trashed_at is None
    }
    return [
        (node, branches[node.branch_id])
        for node in nodes.changed_of_run(
            connection, run_id, _KINDS, launches.forks_of_groups(GROUP)
        )
        if node.branch_id in branches
    ]


def _planned(
    connection: Connection, row: Reviewed, order: TrialOrder, left: int | None
) -> Reviewed:
    """Return a row with the trial that is to be ordered, as long as training is left for it."""
    left_after = planning.updates_left(connection, row.node)
    steps = order.steps if left_after is None else min(order.steps, left_after)
    if steps < 1:
        return replace(row, why="no updates are left after it")
    order = replace(order, nodes=(row.node.id,), steps=steps, intervention=True)
    try:
        most = plan_trial(connection, order).spec.most_steps
    except BranchtrackError as error:
        return replace(row, why=str(error))
    if left is not None and most > left:
        return replace(row, why=f"the budget: it may train {most:,} updates, and {left:,} are left")
    return replace(row, trial=None, order=order, steps=most)

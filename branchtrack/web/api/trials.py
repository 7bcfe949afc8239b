"""The API for trials and reviews: ordered, shown, cancelled, removed, promoted.

It writes no markup.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack.analysis.trials import payloads
from branchtrack.control.launchers import profiles
from branchtrack.control.trials import cancelling, ordering, promotion, removal, review
from branchtrack.control.trials.planning import TrialOrder
from branchtrack.db import runs
from branchtrack.db.orders import trials
from branchtrack.errors import InvalidInput
from branchtrack.schemas import trials as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_trials", __name__, url_prefix="/api/v1")
#: What a body says of the order itself.
_ORDER = set("steps repeats metric margin same intervention name priority labels".split())
_REVIEW = set("steps repeats metric margin budget again".split())


@blueprint.post("/nodes/<node_id>/trials")
@documented({200: models.TrialPreview, 202: models.Trial}, body=models.TrialBody, deed="launch")
def order(node_id: str, body: models.TrialBody) -> Any:
    """Order a trial from a node: 202 with the trial.

    With ``dry_run`` nothing is ordered: 200 with what it would train.
    """
    nodes = [node_id, *(body.nodes or ())]
    facts = body.model_dump(include=_ORDER)
    database, store = services().database, services().store
    with database.read() as connection:
        launcher = profiles.named(connection, body.on)
    ordered = TrialOrder(nodes, body.settings or {}, body.grid or {}, launcher=launcher, **facts)
    who: dict[str, Any] = {"actor": actor(), "reason": body.reason}
    if body.dry_run:
        return payloads.preview(ordering.preview_trial(database, store, ordered, **who).spec)
    trial = ordering.create_trial(
        database, store, ordered, allow_code_change=body.allow_code_change, **who
    )
    with database.read() as connection:
        return payloads.trial(connection, trial), 202


@blueprint.get("/trials/<trial_id>")
@documented(models.Trial, query=Selection)
def show(trial_id: str) -> Any:
    """Return a trial with its pairs and what they show so far."""
    with services().database.read() as connection:
        return payloads.trial(connection, trials.find(connection, trial_id))


@blueprint.get("/runs/<run>/trials")
@documented(models.TrialPage, query=models.TrialsQuery)
def list_trials(run: str, query: models.TrialsQuery) -> Any:
    """Return the trials of a run without their pairs, newest first."""
    with services().database.read() as connection:
        run_id = runs.find_run(connection, run).id
        listed, total = trials.latest(connection, run_id, query.limit + 1, query.before)
        shown = payloads.heads(connection, listed[: query.limit])
    following = shown[-1]["id"] if len(listed) > query.limit else None
    return {"trials": shown, "total": total, "next": following}


@blueprint.post("/trials/<trial_id>/cancel")
@documented(models.Trial, body=models.CancelBody, deed="cancel")
def cancel(trial_id: str, body: models.CancelBody) -> Any:
    """End a trial; a change that was not judged by then is inconclusive."""
    trial = cancelling.cancel_trial(
        services().database, trial_id, actor=actor(), reason=body.reason
    )
    with services().database.read() as connection:
        return payloads.trial(connection, trial)


@blueprint.post("/trials/<trial_id>/remove")
@documented(models.RemovedBranches, body=models.CancelBody, deed="delete")
def remove(trial_id: str, body: models.CancelBody) -> Any:
    """Move all branches of a trial to the trash; its verdict stays."""
    planned = removal.remove_branches(
        services().database, trial_id, actor=actor(), reason=body.reason
    )
    names = [branch.name for branch in planned.branches]
    with services().database.read() as connection:
        return {
            "trial": trials.find(connection, trial_id).id,
            "branches": names,
            "nodes": planned.nodes,
        }


@blueprint.post("/trials/<trial_id>/promote")
@documented(models.Promoted, body=models.PromoteBody, deed="label")
def promote(trial_id: str, body: models.PromoteBody) -> Any:
    """Give a trial's best branch, or the one named, a name of its own; `continue` trains it on."""
    database = services().database
    with database.read() as connection:
        trial = trials.find(connection, trial_id)
        run = runs.get_run(connection, trial.run_id).name
        ref = trial.id if body.branch is None else f"{run}/{body.branch}"
        names = trials.branch_names(connection, trial).values()
        if body.branch is not None and body.branch not in names:
            raise InvalidInput("branch", body.branch, ", ".join(names) or "none is left")
    kept = promotion.promote(database, ref, body.name, actor=actor(), reason=body.reason)
    return {"run": run, "branch": kept.name}


@blueprint.get("/runs/<run>/review")
@documented(models.Review, query=Selection)
def show_review(run: str) -> Any:
    """Return the changes of a run with the verdicts that there are."""
    return _review(run, models.ReviewBody.model_validate({}), is_ordered=False)


@blueprint.post("/runs/<run>/review")
@documented({200: models.Review, 202: models.Review}, body=models.ReviewBody, deed="launch")
def order_review(run: str, body: models.ReviewBody) -> Any:
    """Order trials of all changes of a run: 202; with ``dry_run`` 200, and nothing is ordered."""
    answer = _review(run, body, is_ordered=not body.dry_run)
    return answer if body.dry_run else (answer, 202)


def _review(run: str, body: models.ReviewBody, *, is_ordered: bool) -> dict[str, Any]:
    database, store = services().database, services().store
    with database.read() as connection:
        fields = body.model_dump(include=_REVIEW)
        rows = review.plan_review(connection, run, **fields)
    steps = sum(row.steps for row in rows)
    if is_ordered:
        facts = body.model_dump(include={"reason", "allow_code_change"})
        rows = review.order_review(database, store, rows, actor=actor(), **facts)
    return {**payloads.review(rows), "steps": steps}

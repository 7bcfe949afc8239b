"""Trials: rows that say what is tried, with their pairs and verdicts as they come in."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, select, tuple_

from branchtrack.core.names import new_id
from branchtrack.core.trials.judging import Verdict
from branchtrack.core.trials.outcomes import standing
from branchtrack.core.trials.records import CANCELLED, RUNNING, SAME, Pair, Spec, Trial, TrialHead
from branchtrack.db import audit, runs, seals
from branchtrack.db.orders import launches
from branchtrack.db.orders.tables import trials
from branchtrack.db.tables import branches
from branchtrack.errors import InvalidInput, NotFound

#: The columns of a trial whose pairs are left out once it is over: lists show verdicts, and the
#: pairs are most of a row.
HEAD: tuple[ColumnElement[Any], ...] = (
    *(column for column in trials.c if column is not trials.c.pairs),
    case((trials.c.state == RUNNING, trials.c.pairs)).label("pairs"),
)
_AGE = (trials.c.created_at, trials.c.id)


def create(
    connection: Connection,
    run_id: str,
    spec: Spec,
    *,
    kind: str,
    group_id: str,
    subject: str | None,
    actor: str,
    reason: str,
    trial_id: str | None = None,
) -> Trial:
    """Create a trial without pairs; ``trial_id`` is its id, if the order has chosen one."""
    now = time.time()
    trial = Trial(
        id=trial_id or new_id(),
        run_id=run_id,
        group_id=group_id,
        kind=kind,
        subject=subject,
        spec=spec,
        pairs=(),
        state=RUNNING,
        verdicts=(None,) * len(spec.arms),
        error="",
        actor=actor,
        reason=reason,
        created_at=now,
        updated_at=now,
    )
    connection.execute(trials.insert().values(**trial.row()))
    _log(connection, trial, "created", actor, reason)
    return trial


def save(
    connection: Connection,
    trial: Trial,
    *,
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict | None],
    state: str = RUNNING,
    error: str = "",
    actor: str,
) -> Trial | None:
    """Store how far a trial is; None if another process has done so since it was read."""
    changed = replace(
        trial,
        pairs=tuple(pairs),
        verdicts=tuple(verdicts),
        state=state,
        error=error,
        updated_at=max(time.time(), trial.updated_at + 1e-6),
    )
    names = ("pairs", "verdicts", "state", "error", "updated_at")
    row = changed.row()
    same = (trials.c.id == trial.id) & (trials.c.updated_at == trial.updated_at)
    done = connection.execute(
        trials.update().where(same).values(**{name: row[name] for name in names})
    )
    if not done.rowcount:
        return None
    seals.renew(connection, trials, trial.id)
    if state != RUNNING or any(
        new is not None and old is None
        for new, old in zip(changed.verdicts, trial.verdicts, strict=True)
    ):
        _log(connection, changed, state, actor, error)
    return changed


def get(connection: Connection, trial_id: str) -> Trial:
    """Return the trial with exactly that id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(trials).where(trials.c.id == trial_id)).first()
    if row is None:
        raise NotFound("trial", trial_id)
    return Trial.read({**row._mapping})


def of_order(connection: Connection, order_id: str | None) -> Trial | None:
    """Return the trial made by an order that has chosen its id, if it was made.

    Raises:
        InvalidInput: it was cancelled since.
    """
    listed = [] if order_id is None else _listed(connection, trials.c.id == order_id)
    if listed and listed[0].state == CANCELLED:
        raise launches.used_up(listed[0].id)
    return listed[0] if listed else None


def find(connection: Connection, ref: str) -> Trial:
    """Return the trial whose id starts with ``ref``.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    row = runs.one_by_prefix(connection, select(trials), trials.c.id, "trial", ref)
    if row is None:
        raise NotFound("trial", ref)
    return Trial.read({**row._mapping})


def of_run(connection: Connection, run_id: str) -> list[TrialHead]:
    """Return the trials of a run, oldest first; those that are over without their pairs."""
    return _heads(connection, trials.c.run_id == run_id)


def of_tree(connection: Connection, run_id: str) -> list[TrialHead]:
    """Return the trials of a run that its tree shows, oldest first, as `of_run` does.

    They tried a change of the tree, or have branches that are not deleted.
    """
    standing_groups = select(branches.c.group_id).where(
        branches.c.run_id == run_id, branches.c.trashed_at.is_(None)
    )
    is_shown = trials.c.subject.is_not(None) | trials.c.group_id.in_(standing_groups)
    return _heads(connection, (trials.c.run_id == run_id) & is_shown)


def latest(
    connection: Connection, run_id: str, limit: int, before: str | None = None
) -> tuple[list[TrialHead], int]:
    """Return the newest trials of a run, newest first, and how many trials it has.

    Those that are over are without their pairs. ``before``: only what is older than the trial with
    that id.

    Raises:
        InvalidInput: the run has no trial ``before``.
    """
    own = trials.c.run_id == run_id
    total = select(func.count()).where(own).scalar_subquery()
    query = select(*HEAD, total.label("total")).where(own)
    if before is not None:
        named = select(trials.c.created_at).where(own, trials.c.id == before)
        created_at = connection.execute(named).scalar()
        if created_at is None:
            raise InvalidInput("before", before, "the `next` of the page before")
        query = query.where(tuple_(*_AGE) < tuple_(literal(created_at), literal(before)))
    newest = query.order_by(*(part.desc() for part in _AGE)).limit(limit)
    rows = [{**row._mapping} for row in connection.execute(newest)]
    counts = [row.pop("total") for row in rows]
    if not rows and before is not None:
        counts = [connection.execute(select(total)).scalar_one()]
    return [read_head(row) for row in rows], counts[0] if counts else 0


def checks_of_run(connection: Connection, run_id: str) -> list[Trial]:
    """Return the trials of a run in which nothing was changed, oldest first."""
    return _listed(connection, (trials.c.run_id == run_id) & (trials.c.kind == SAME))


def of_nodes(connection: Connection, node_ids: Collection[str]) -> dict[str, TrialHead]:
    """Return the trial that stands for the change of each node, by the node's id."""
    return standing(_heads(connection, trials.c.subject.in_(list(node_ids))))


def of_groups(connection: Connection, group_ids: Collection[str]) -> dict[str, Trial]:
    """Return the trials whose branches are one of these groups, by the group's id."""
    listed = _listed(connection, trials.c.group_id.in_(list(group_ids)))
    return {trial.group_id: trial for trial in listed if trial.group_id}


def branch_names(connection: Connection, trial: Trial) -> dict[str, str]:
    """Return the names of a trial's branches by id, without those that were deleted."""
    ids = {side.branch_id for pair in trial.pairs for side in pair.sides if side is not None}
    query = select(branches.c.id, branches.c.name).where(
        branches.c.run_id == trial.run_id,
        branches.c.id.in_(sorted(ids)),
        branches.c.trashed_at.is_(None),
    )
    return {row.id: row.name for row in connection.execute(query)}


def running(connection: Connection) -> list[Trial]:
    """Return the trials that are not over, oldest first."""
    return _listed(connection, trials.c.state == RUNNING)


def read_head(row: Mapping[str, Any]) -> TrialHead:
    """Return a trial from the columns `HEAD`: a `Trial` as long as it is not over."""
    return TrialHead.read(row) if row["pairs"] is None else Trial.read(row)


def _heads(connection: Connection, condition: Any) -> list[TrialHead]:
    query = select(*HEAD).where(condition).order_by(*_AGE)
    return [read_head({**row._mapping}) for row in connection.execute(query)]


def _listed(connection: Connection, condition: Any) -> list[Trial]:
    query = select(trials).where(condition).order_by(*_AGE)
    return [Trial.read({**row._mapping}) for row in connection.execute(query)]


def _log(connection: Connection, trial: Trial, state: str, actor: str, reason: str) -> None:
    payload: dict[str, Any] = {
        "changes": [arm.label for arm in trial.spec.arms],
        "metric": trial.spec.metric,
        "nodes": list(trial.spec.nodes),
        "steps": trial.spec.steps,
        "pairs": len(trial.pairs),
    }
    if trial.subject:
        payload["node"] = trial.subject
    if any(trial.verdicts):
        payload["verdicts"] = [
            None
            if verdict is None
            else {name: getattr(verdict, name) for name in ("verdict", "effect", "low", "high")}
            for verdict in trial.verdicts
        ]
    seals.renew(connection, trials, trial.id)
    audit.append(
        connection,
        trial.run_id,
        kind="trial",
        ref=trial.id,
        state=state,
        actor=actor,
        reason=reason,
        payload=payload,
    )

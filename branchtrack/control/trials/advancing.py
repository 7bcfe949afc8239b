"""A trial taken as far as it can go: ends of trainings noted, pairs judged, the next ones queued.

Whoever watches launches calls this, as often as it likes; all that it needs is in the database, so
that a trial goes on wherever a worker works. Of several callers at once one succeeds.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes
from branchtrack.control import launch as orders
from branchtrack.control.launch import CheckedOrder
from branchtrack.control.trials.endings import end, side_now
from branchtrack.control.trials.planning import side_order
from branchtrack.control.trials.sameness import changed_code
from branchtrack.core.actors import Actor
from branchtrack.core.names import as_name, free_name
from branchtrack.core.records import Group, Node
from branchtrack.core.trials.judging import Verdict
from branchtrack.core.trials.looks import next_look
from branchtrack.core.trials.outcomes import judged, unjudged
from branchtrack.core.trials.records import (
    FAILED,
    RUNNING,
    SETTLED,
    Pair,
    Side,
    Spec,
    Trial,
    differences,
)
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, trials
from branchtrack.errors import BranchtrackError, NotFound, StorageError

#: Who judges and queues the later pairs of a trial.
ACTOR = "trial"


@dataclass(frozen=True)
class _Wanted:
    """A training to queue: the side of a pair, counted from 0, after so many ``attempts``."""

    pair: Pair
    side: int
    attempts: int
    order: CheckedOrder


class _Overtaken(Exception):
    """Another process has advanced the trial in the meantime."""


def advance_all(database: Database, store: Store) -> list[Trial]:
    """Advance all trials that are not over; return them as they are now."""
    with database.read() as connection:
        listed = trials.running(connection)
    advanced = []
    for trial in listed:
        # Its run may have been purged since.
        with suppress(NotFound):
            advanced.append(advance(database, store, trial.id))
    return advanced


def advance(database: Database, store: Store, trial_id: str) -> Trial:
    """Take a trial as far as it can go now, and return it.

    Raises:
        NotFound: its run was purged. StorageError: the database failed; another call goes on.
    """
    with database.read() as connection:
        trial = trials.get(connection, trial_id)
        if trial.state != RUNNING:
            return trial
        pairs = [_pair_now(connection, trial, pair) for pair in trial.pairs]
        starts = nodes.by_ids(connection, trial.spec.nodes)
        is_over = all(pair.is_over for pair in pairs)
        purged = [ref for ref in trial.spec.nodes if ref not in starts]
        is_whole = is_over and not purged
        changed = changed_code(connection, trial.spec, pairs) if is_whole else ""
    verdicts: list[Verdict | None] = [*trial.verdicts]
    if purged:
        return _finish(database, trial, pairs, verdicts, FAILED, f"Node {purged[0]} was purged.")
    if pairs and is_over:
        verdicts = [*judged(trial, pairs)]
        if failure := changed or _failure(trial, pairs):
            return _finish(database, trial, pairs, verdicts, FAILED, failure)
        if _is_settled(trial.spec, pairs, verdicts):
            return _finish(database, trial, pairs, verdicts, SETTLED)
        # What is inconclusive before the last look is no verdict.
        verdicts = [v if v is not None and v.is_settled else None for v in verdicts]
    if is_over:
        pairs += _next_pairs(trial, starts, len(pairs), verdicts)
    try:
        wanted = _wanted(database, store, trial.spec, starts, pairs)
        if not wanted and tuple(pairs) == trial.pairs:
            return trial
        return _store(database, trial, pairs, verdicts, wanted)
    except StorageError:
        raise
    except BranchtrackError as error:
        return _finish(database, trial, pairs, verdicts, FAILED, str(error))


def _pair_now(connection: Connection, trial: Trial, pair: Pair) -> Pair:
    for index, side in enumerate(pair.sides):
        if side is not None and not side.is_over:
            pair = pair.with_side(index, side_now(connection, trial.spec, pair, side))
    return pair


def _is_settled(spec: Spec, pairs: Sequence[Pair], verdicts: Sequence[Verdict | None]) -> bool:
    """Return whether every change has its verdict, or no further pairs are allowed."""
    if next_look(spec.at, len(pairs)) is None:
        return True
    return all(verdict is not None and verdict.is_settled for verdict in verdicts)


def _failure(trial: Trial, pairs: Sequence[Pair]) -> str:
    """Return why a trial cannot go on: no pair of it has both values."""
    if any(differences(pairs, arm) for arm in range(len(trial.spec.arms))):
        return ""
    errors = [side.error for pair in pairs for side in pair.sides if side and side.error]
    return errors[0] if errors else "No pair has both values."


def _next_pairs(
    trial: Trial, starts: dict[str, Node], done: int, verdicts: Sequence[Verdict | None]
) -> list[Pair]:
    """Return the pairs up to the next look, with a side still to queue for each open change."""
    spec = trial.spec
    sides = tuple(
        None if index and verdicts[index - 1] is not None else _UNQUEUED
        for index in range(1 + len(spec.arms))
    )
    fresh = []
    for number in range(done, next_look(spec.at, done) or done):
        node = starts[spec.nodes[number % len(spec.nodes)]]
        seed = zlib.crc32(f"{trial.id}:{number}".encode()) if spec.is_reseeded else None
        fresh.append(Pair(number + 1, node.id, node.step, seed, sides))
    return fresh


#: A side that no launch was ordered for yet.
_UNQUEUED = Side("", "", "", attempts=0)


def _wanted(
    database: Database,
    store: Store,
    spec: Spec,
    starts: dict[str, Node],
    pairs: Sequence[Pair],
) -> list[_Wanted]:
    """Return what is to be queued, checked."""
    known: dict[str, list[str]] = {}
    wanted = []
    for pair in pairs:
        for index, side in enumerate(pair.sides):
            if side is None or side.is_over or side.launch:
                continue
            node = starts[pair.node]
            if spec.checks_code and node.id not in known:
                with database.read() as connection:
                    code_changes.check(connection, node, spec.command)
            order = side_order(spec, node, index, pair.seed)
            checked = orders.check_order(database, store, node, order, spec.command, known=known)
            wanted.append(_Wanted(pair, index, side.attempts, checked))
    return wanted


def _store(
    database: Database,
    trial: Trial,
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict | None],
    wanted: Sequence[_Wanted],
) -> Trial:
    """Queue what is wanted and store how far the trial is, in one transaction."""
    by_number = {pair.number: pair for pair in pairs}
    try:
        with database.transaction() as connection:
            runs.lock_names(connection, trial.run_id)
            group = _group(connection, trial)
            for training in wanted:
                side = _queued(connection, trial, group, training)
                number = training.pair.number
                by_number[number] = by_number[number].with_side(training.side, side)
            saved = trials.save(
                connection,
                trial,
                pairs=list(by_number.values()),
                verdicts=verdicts,
                actor=ACTOR,
            )
            if saved is None:
                raise _Overtaken
            return saved
    except _Overtaken:
        with database.read() as connection:
            return trials.get(connection, trial.id)


def _group(connection: Connection, trial: Trial) -> Group | None:
    listed = groups.of_run(connection, trial.run_id)
    return next((group for group in listed if group.id == trial.group_id), None)


def _queued(connection: Connection, trial: Trial, group: Group | None, training: _Wanted) -> Side:
    """Queue the training of a side, and return the side."""
    spec, pair = trial.spec, training.pair
    label = as_name(trial.side_words[training.side], "arm")
    stem = f"{group.name if group else 'trial'}-{label[:40]}-{pair.number}"
    name = free_name(as_name(stem, "trial"), runs.branch_names(connection, trial.run_id))
    turn = {name: getattr(spec, name) for name in ("priority", "labels", "launcher")}
    who, facts = Actor(trial.actor), {"group": group, **turn}
    launch = orders.queue(connection, training.order.named(name), who, trial.reason, facts)
    return Side(launch.id, launch.branch_id, name, attempts=training.attempts + 1)


def _finish(
    database: Database,
    trial: Trial,
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict | None],
    state: str,
    error: str = "",
) -> Trial:
    if state == FAILED:
        verdicts = unjudged(trial, pairs, "it failed before it was judged")
    with database.transaction() as connection:
        # What was never queued is not expected any more.
        listed = [
            replace(pair, sides=tuple(s if s is None or s.launch else None for s in pair.sides))
            for pair in pairs
        ]
        if state == FAILED:
            listed = end(connection, listed, ACTOR, "The trial failed.")
        saved = trials.save(
            connection,
            trial,
            pairs=listed,
            verdicts=verdicts,
            state=state,
            error=error,
            actor=ACTOR,
        )
        return trials.get(connection, trial.id) if saved is None else saved

"""Deleting runs and branches: into the trash, out of it again, and for good.

What lies in the trash is hidden and complete. It is purged by `branchtrack gc` once its time is
over, or at once on request; until then all of it can be restored.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from branchtrack.control import labels
from branchtrack.control.text import clean_text
from branchtrack.core import actors, lifecycle
from branchtrack.core.actors import Actor
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import runs, segments
from branchtrack.db.deletion import dependencies, freed, purging, trash
from branchtrack.db.deletion.trash import Entry
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, trials
from branchtrack.errors import InvalidInput, NotFound

_MOST_NAMED = 5


@dataclass(frozen=True)
class Deletion:
    """What a deletion takes along: a run, or a ``branch`` of it, with the ``branches`` that go.

    ``dependents`` are those of ``branches`` that depend on ``branch``.
    """

    run: Run
    branch: Branch | None
    branches: tuple[Branch, ...]
    nodes: int

    @property
    def name(self) -> str:
        """The run's name, or ``RUN/BRANCH``."""
        return self.run.name if self.branch is None else f"{self.run.name}/{self.branch.name}"

    @property
    def dependents(self) -> tuple[Branch, ...]:
        """The branches that go only because the chosen one goes."""
        return tuple(row for row in self.branches if self.branch and row.id != self.branch.id)


def plan(connection: Connection, ref: str) -> Deletion:
    """Return what deleting a run or ``RUN/BRANCH`` would take along.

    Raises:
        NotFound, Ambiguous: nothing has that name. InvalidInput: it is a node, or the default
        branch, without which there is no run.
    """
    item = labels.find(connection, ref)
    if isinstance(item, Node):
        what = f"{ref} is a node: a node goes with its branch, and `branchtrack gc` thins it."
        raise InvalidInput("ref", ref, "a run or RUN/BRANCH", what=what)
    return plan_of(connection, item)


def plan_of(connection: Connection, item: Run | Branch) -> Deletion:
    """Do as `plan`, for a run or a branch."""
    if isinstance(item, Run):
        listed = [row for row in runs.list_branches(connection, item.id) if not row.trashed_at]
        return _deletion(connection, item, None, listed)
    run = runs.get_run(connection, item.run_id)
    if item.name == run.default_branch:
        name = f"{run.name}/{item.name}"
        what = f"{name} has the root of the tree: without it there is no run."
        raise InvalidInput("ref", name, f"{run.name}, to delete the whole run", what=what)
    ids = dependencies.below(dependencies.of_run(connection, run.id), [item.id])
    members = [row for row in dependencies.chosen(connection, run.id, ids) if not row.trashed_at]
    return _deletion(connection, run, item, members)


def freed_bytes(connection: Connection, branches: Sequence[Branch]) -> int:
    """Return the bytes that purging these branches would free."""
    return freed.freed_bytes(connection, {branch.id for branch in branches})


def delete(
    database: Database,
    ref: str,
    *,
    actor: Actor | str,
    with_children: bool = False,
    reason: str = "",
) -> Deletion:
    """Move a run, or ``RUN/BRANCH``, to the trash.

    Raises:
        NotFound, Ambiguous: nothing has that name. Forbidden: the actor may not do it.
        InvalidInput: other branches depend on it and are not to go with it, or something trains.
    """
    why, who = _check(database, actor, "delete", reason)
    with database.transaction() as connection:
        planned = plan(connection, ref)
        runs.lock_names(connection, planned.run.id)
        if planned.dependents and not with_children:
            raise _needed(planned)
        _refuse_busy(connection, planned)
        items = [planned.run] if planned.branch is None else planned.branches
        trash.put(connection, items, actor=who.label, why=why)
    return planned


def restore(database: Database, ref: str, *, actor: Actor | str, reason: str = "") -> Deletion:
    """Take a run or ``RUN/BRANCH`` out of the trash, with what was deleted together with it.

    Branches that it depends on come back as well.

    Raises:
        NotFound: nothing of that name is in the trash. Forbidden: the actor may not do it.
    """
    why, who = _check(database, actor, "delete", reason)
    with database.transaction() as connection:
        entry = find(connection, ref)
        if not entry.branches:
            trash.take_out(connection, [entry.run], actor=who.label, why=why)
            members = runs.list_branches(connection, entry.run.id)
            return _deletion(connection, entry.run, None, members)
        needed = dependencies.of_run(connection, entry.run.id)
        ids = dependencies.above(needed, [branch.id for branch in entry.branches])
        members = [
            row for row in dependencies.chosen(connection, entry.run.id, ids) if row.trashed_at
        ]
        trash.take_out(connection, members, actor=who.label, why=why)
        return _deletion(connection, entry.run, entry.branches[0], members)


def find(connection: Connection, ref: str) -> Entry:
    """Return the entry of the trash with that name or id, or that holds a branch of that name.

    Raises:
        NotFound: there is none, with what is in the trash.
    """
    listed = trash.entries(connection)
    for entry in listed:
        names = {entry.run.name, entry.run.id} if not entry.branches else set()
        for branch in entry.branches:
            names |= {f"{entry.run.name}/{branch.name}", branch.id}
        if ref in names:
            return entry
    names_there = [entry.name for entry in listed]
    fix = f"In the trash: {', '.join(names_there[:_MOST_NAMED])}." if listed else "It is empty."
    raise NotFound("entry of the trash named", ref, names_there, fix=fix)


def purge(database: Database, entry: Entry, *, actor: Actor | str) -> None:
    """Remove an entry of the trash for good; the events of its run stay.

    Raises:
        Forbidden: the actor may not do it. NotFound: it is not in the trash any more.
    """
    _, who = _check(database, actor, "purge", "")
    _purge(database, entry, who.label)


def purge_due(database: Database, *, actor: Actor | str) -> list[Entry]:
    """Remove what has been in the trash for its time, and return it.

    Raises:
        Forbidden: the actor may not sweep.
    """
    _, who = _check(database, actor, "retain", "")
    with database.read() as connection:
        entries = trash.list_due(connection)
    purged = list[Entry]()
    for entry in entries:
        # Another sweep, or a restore, may have come first; and what another needs stays.
        with suppress(NotFound, InvalidInput):
            _purge(database, entry, who.label)
            purged.append(entry)
    return purged


def _purge(database: Database, entry: Entry, actor: str) -> None:
    with database.transaction() as connection:
        current = find(connection, entry.id)
        run_id = current.run.id
        if current.branches:
            needed = dependencies.of_run(connection, run_id)
            # Those that depend on it lie in the trash, too.
            ids = dependencies.below(needed, [branch.id for branch in current.branches])
            doomed = dependencies.chosen(connection, run_id, ids)
            if listed := [branch for branch in doomed if branch.trashed_at is None]:
                raise _grown(current, listed)
        else:
            doomed = runs.list_branches(connection, run_id)
        logs = purging.logs(connection, doomed)
        if current.branches:
            purging.purge_branches(connection, doomed, actor)
        else:
            purging.purge_run(connection, current.run, actor)
    for log in logs:
        # Of a cluster also what the script of its job printed.
        for path in (Path(log), Path(log).with_suffix(".job.log")):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _check(database: Database, actor: Actor | str, deed: str, reason: str) -> tuple[str, Actor]:
    database.check_writable()
    why, who = clean_text("reason", reason), actors.of(actor)
    actors.check(who, deed, [deed])
    actors.check_reason(who, why)
    return why, who


def of_branches(connection: Connection, run: Run, members: Sequence[Branch]) -> Deletion:
    """Return the deletion of branches that are chosen already.

    Raises:
        InvalidInput: something trains one of them.
    """
    planned = _deletion(connection, run, members[0], members)
    _refuse_busy(connection, planned)
    return planned


def _deletion(
    connection: Connection, run: Run, branch: Branch | None, members: Sequence[Branch]
) -> Deletion:
    count = trash.count_nodes(connection, [row.id for row in members])
    return Deletion(run, branch, tuple(members), count)


def _grown(entry: Entry, listed: Sequence[Branch]) -> InvalidInput:
    names = [f"{entry.run.name}/{branch.name}" for branch in listed[:_MOST_NAMED]]
    what = f"{entry.name} cannot be purged; these depend on it and were not deleted: "
    fix = f"`branchtrack restore {entry.name}`, or `branchtrack delete {names[0]}` first"
    return InvalidInput("entry", entry.name, fix, what=f"{what}{', '.join(names)}.")


def _needed(planned: Deletion) -> InvalidInput:
    names = [row.name for row in planned.dependents]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    listed = ", ".join(names[:_MOST_NAMED]) + more
    return InvalidInput(
        "with_children",
        False,
        "true, or --with-children in a shell: these go, too",
        what=f"{planned.name} cannot go alone; these depend on it: {listed}.",
        branches=names,
    )


def _refuse_busy(connection: Connection, planned: Deletion) -> None:
    """Refuse if a process trains any of it, or is to."""
    now = time.time()
    unfinished = {launch.branch_id: launch for launch in launches.unfinished(connection)}
    running = {trial.group_id: trial.id for trial in trials.running(connection)}
    for branch in planned.branches:
        if branch.segment_id is None:
            continue
        segment = segments.get(connection, branch.segment_id)
        status = lifecycle.segment_status(segment, now)
        name = f"{planned.run.name}/{branch.name}"
        launch = unfinished.get(branch.id)
        trial_id = running.get(branch.group_id) if launch else None
        if trial_id is not None:
            fix = f"`branchtrack trials {trial_id} --cancel`, and another try"
            what = f"{name} is trained by trial {trial_id}, which is not over."
            raise InvalidInput("ref", name, fix, what=what)
        if status == "waiting" or (launch and launch.state in ("queued", "starting")):
            fix = f"`branchtrack cancel {launch.id}`, and another try" if launch else "another try"
            raise InvalidInput("ref", name, fix, what=f"{name} waits for a process to train it.")
        if status in lifecycle.LIVE or (status == "lost" and segment.gone is False):
            fix = f"`branchtrack stop {name}`, and another try"
            what = f"{name} is being trained by process {segment.pid} on {segment.host}."
            raise InvalidInput("ref", name, fix, what=what)

"""Which unfinished training a restarted command continues.

It finds the run that the command began and the branch that its process trained last, and determines
whether something is left to do there. It knows no live objects.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from branchtrack.core import lifecycle
from branchtrack.core.records import Branch, Node, Run, Segment
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.environment_variables import CONTINUE_VARIABLE
from branchtrack.errors import BranchTaken, InvalidInput, NotFound
from branchtrack.training.record import environment
from branchtrack.training.session import beginnings, ordinals, siblings
from branchtrack.training.session.ordinals import Training

logger = logging.getLogger("branchtrack")

_NO = ("", "0", "false", "no", "off")
_YES = ("1", "true", "yes", "on")
#: Seconds between two checks of a process that may be gone.
_LOOK = 0.2


@dataclass(frozen=True)
class Line:
    """The branch that a process of a run trained last, with its newest node, if it has one."""

    run: Run
    branch: Branch
    segment: Segment
    head: Node | None

    @property
    def status(self) -> str:
        """The segment's status, ``lost`` if its process is gone."""
        return lifecycle.segment_status(self.segment, time.time())

    @property
    def is_live(self) -> bool:
        """Whether a process trains it, or is about to."""
        return self.status in (*lifecycle.LIVE, "waiting")

    @property
    def is_finished(self) -> bool:
        """Whether training reached its end, so that nothing is left to do."""
        last = None if self.head is None else self.head.settings.get("max_steps")
        at_end = self.head is not None and last is not None and self.head.step >= last
        return self.segment.status == "finished" or at_end

    def __str__(self) -> str:
        head, ends = self.head, None if self.head is None else self.head.settings.get("max_steps")
        step = "" if head is None else f", node {head.id} at step {head.step}"
        step += "" if head is None or ends is None else f" of {ends}"
        return f"{self.run.name}/{self.branch.name} ({self.status}{step})"


def is_asked_for() -> bool:
    """Return whether the environment or the command asks to continue what the command began."""
    return _wish().lower() not in _NO


def line_of_command(connection: Connection, training: Training, home: Path) -> Line | None:
    """Return the branch of the latest run of this training of this command.

    If the environment names a run, that run comes before newer ones, and so do those of the other
    trainings of its script's execution: they belong together.

    Raises:
        InvalidInput: the named run is not one of this command.
    """
    command = ordinals.command(training, home)
    run = None
    if is_asked_for() and _wish().lower() not in _YES:
        named = _named_run(connection, _wish(), home)
        related = [named, *siblings.of_process(connection, named)]
        run = next((other for other in related if other.command == command), None)
    run = run or runs.of_command(connection, command)
    return None if run is None else line_of_run(connection, run)


def line_of_site(
    connection: Connection, training: Training, home: Path, output: str | None
) -> Line | None:
    """Do the same for any arguments of the script."""
    matching_runs = runs.of_training(connection, site=ordinals.site(training, home, output))
    return line_of_run(connection, matching_runs[0]) if matching_runs else None


def line_of_run(connection: Connection, run: Run) -> Line | None:
    """Return the branch a run's process trained last: it may have moved to other branches."""
    branches = {
        row.id: row for row in runs.list_branches(connection, run.id) if row.trashed_at is None
    }
    listed = segments.list_of_run(connection, run.id)
    all_of_run = {row.id: row for row in listed if row.branch_id in branches}
    first = next((row for row in branches.values() if row.name == run.default_branch), None)
    if first is None or first.segment_id is None:
        return None
    current, seen = all_of_run[first.segment_id], {first.id}
    while True:
        later = [row for row in all_of_run.values() if _follows(row, current, seen)]
        if not later:
            break
        branch = branches[max(later, key=_began).branch_id]
        seen.add(branch.id)
        current = all_of_run[branch.segment_id or ""]
    branch = branches[current.branch_id]
    head = None if branch.head_id is None else nodes.get(connection, branch.head_id)
    return Line(run, branch, current, head)


def wait_until_free(database: Database, line: Line) -> Line:
    """Return the line once no process trains it; a dead process is not recognised at once.

    Raises:
        BranchTaken: one does.
    """
    beat = line.segment.heartbeat_at
    if line.is_live and not line.segment.gone:
        logger.warning("branchtrack: checking whether a process still trains %s.", line)
    deadline = time.monotonic() + lifecycle.SILENT_AFTER
    while line.is_live:
        lives_here = line.segment.gone is False
        if lives_here or line.segment.heartbeat_at != beat or time.monotonic() > deadline:
            raise BranchTaken(f"{line.run.name}/{line.branch.name}", line.segment.process)
        time.sleep(_LOOK)
        with database.read() as connection:
            line = line_of_run(connection, line.run) or line
    return line


def hint(line: Line) -> str:
    """Describe how to continue an unfinished run when a new one was begun beside it."""
    # The run that has just begun is the latest one by the time this is read.
    if environment.is_interactive() and line.head is not None:
        node = f'"{line.head.id}"'
        how = f"branchtrack.start(..., resume={node}), or train(resume_from_node={node})"
    else:
        wish = line.run.id if line.run.name.lower() in (*_NO, *_YES) else line.run.name
        how = f"{CONTINUE_VARIABLE}={wish} {beginnings.shown_command()}"
    return (
        f"An unfinished run of this command exists: {line}. This is a new run; to continue that "
        f"one instead: {how}"
    )


def _wish() -> str:
    wish = os.environ.get(CONTINUE_VARIABLE, "").strip()
    return "1" if not wish and ordinals.CONTINUE_FLAG in sys.argv[1:] else wish


def _named_run(connection: Connection, name: str, home: Path) -> Run:
    """Return the run of that name or id, if a training of this process's command began it."""
    allowed = "1, or the name or id of a run that this command has begun"
    try:
        run = runs.find_run(connection, name)
    except NotFound as error:
        what = f"{CONTINUE_VARIABLE}: {error.what}"
        raise InvalidInput(CONTINUE_VARIABLE, name, allowed, what=what) from error
    names = ("name", "number", "of_name", "process")
    began = {key: run.training[key] for key in names if key in run.training}
    if len(began) < len(names) or ordinals.command(Training(**began), home) != run.command:
        what = f"{CONTINUE_VARIABLE}: the run {run.name} was begun by another command."
        raise InvalidInput(CONTINUE_VARIABLE, name, allowed, what=what)
    return run


def _follows(segment: Segment, current: Segment, seen: set[str]) -> bool:
    same = current.process is not None and segment.process == current.process
    return same and segment.branch_id not in seen and _began(segment) >= _began(current)


def _began(segment: Segment) -> float:
    return float("inf") if segment.started_at is None else segment.started_at

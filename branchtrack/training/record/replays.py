"""The recording of changes that a process was started with, for its first training.

The changes become requests in the transaction in which the training takes its segment, so that they
wait there before its first update. It knows no live objects.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from branchtrack import control
from branchtrack.control.replays import files, sending
from branchtrack.control.replays.fitting import FittedRecording, fit
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node, Segment
from branchtrack.core.replays.recording import Recording
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.views.branch_path import path_to
from branchtrack.environment_variables import REPLAY_VARIABLE

logger = logging.getLogger("branchtrack")


@dataclass(frozen=True)
class PlannedReplay:
    """The changes of a recording that a training is to make again."""

    fitted: FittedRecording

    def record(self, connection: Connection, segment: Segment) -> None:
        """Ask the segment, which this process has just taken, for the changes."""
        branch = runs.get_branch(connection, segment.branch_id)
        sending.address(connection, branch, self.fitted, _actor(), "")

    def announce(self) -> None:
        """Log what will be made, and what will not."""
        fitted = self.fitted
        if not fitted.recording.requested:
            return
        parts = [f"{len(fitted.changes)} are requested"]
        if fitted.done:
            parts.append(f"{len(fitted.done)} were made before")
        if fitted.passed:
            parts.append(f"{len(fitted.passed)} are before its step and left out")
        origin = sending.replayed_from(fitted.recording)
        logger.warning("branchtrack: changes %s: %s.", origin, ", ".join(parts))


def is_requested() -> bool:
    """Return whether this process was started with a recording."""
    return bool(os.environ.get(REPLAY_VARIABLE, "").strip())


def requested() -> Recording:
    """Return the recording that this process was started with.

    Raises:
        InvalidInput: it cannot be read.
    """
    return files.read(Path(os.environ[REPLAY_VARIABLE].strip()))


def plan(
    recording: Recording, segment: Segment, database: Database, fork: Node | None
) -> PlannedReplay:
    """Return what is left to make of a recording in a training that resumes at ``fork``.

    ``segment`` is the training as it would declare itself; a new run resumes nothing.

    Raises:
        InvalidInput: a change does not fit the training.
    """
    done: set[int] = set()
    if fork is not None and fork.parent_id is not None:
        with database.read() as connection:
            path = path_to(connection, nodes.get(connection, fork.parent_id))
            done = sending.carried_out(connection, recording, path)
    return PlannedReplay(fit(recording, segment, done=done, skip_passed=fork is not None))


def _actor() -> Actor:
    return Actor(f"replay ({control.local_actor()})", channel="run")

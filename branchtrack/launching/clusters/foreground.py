"""Launches of clusters that a command submits, and may wait for.

It must not know terminals: the caller is given the launch and its segment at every look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from branchtrack.core import lifecycle
from branchtrack.core.launchers.jobs import SUBMITTING, is_open
from branchtrack.core.records import Launch, Segment
from branchtrack.db import segments
from branchtrack.db.orders import withdrawals
from branchtrack.errors import StorageError
from branchtrack.launching.clusters.shepherd import Shepherd
from branchtrack.launching.clusters.watch import current

#: Seconds between two looks.
_POLL = 0.2
#: Seconds that the submission of launches may take; then it is left to workers.
_SUBMISSION = 120.0


def submit(shepherd: Shepherd, launch_ids: Sequence[str]) -> list[Launch]:
    """Submit the jobs of launches, and return the launches as they are then."""
    deadline = time.monotonic() + _SUBMISSION
    while True:
        shepherd.look()
        launches = [current(shepherd.database, launch_id) for launch_id in launch_ids]
        is_done = not any(launch.job_state in (None, SUBMITTING) for launch in _waiting(launches))
        if is_done or time.monotonic() > deadline:
            return launches
        time.sleep(_POLL)


def follow(
    shepherd: Shepherd, launch_ids: Sequence[str], watch: Callable[[Launch, Segment], None]
) -> list[Launch]:
    """Submit launches, and return them as they ended, with the jobs that they had.

    A job that runs again is followed into the launch that goes on. ``watch`` is called at every
    look for each that has not ended; what it raises leaves the jobs to go on.

    Raises:
        StorageError: the database failed before any of them was submitted.
    """
    launches: list[Launch] = []
    while True:
        try:
            shepherd.look()
            launches = [current(shepherd.database, launch_id) for launch_id in launch_ids]
            for launch in launches:
                _show(shepherd, launch, watch)
            if all(map(_is_over, launches)):
                return launches
        except StorageError as error:
            # The jobs go on meanwhile.
            if all(launch.job is None for launch in launches):
                raise
            shepherd.say_once(f"{error} Trying again.")
        time.sleep(_POLL)


def _waiting(launches: Sequence[Launch]) -> list[Launch]:
    return [launch for launch in launches if launch.state == "queued"]


def _is_over(launch: Launch) -> bool:
    """Return whether nothing more is expected of a launch: its job may still run again."""
    return launch.state in lifecycle.LAUNCH_ENDS and not is_open(launch.job_state)


def _show(shepherd: Shepherd, launch: Launch, watch: Callable[[Launch, Segment], None]) -> None:
    with shepherd.database.read() as connection:
        if launch.state in lifecycle.LAUNCH_ENDS or withdrawals.is_withdrawn(connection, launch):
            return
        segment = segments.get(connection, launch.segment_id)
    watch(launch, segment)

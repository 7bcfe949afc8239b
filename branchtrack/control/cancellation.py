"""Launches that are no longer wanted: taken out of the queue, or ended by their workers.

It knows no process: only the worker that has one ends it.
"""

from __future__ import annotations

import time

from branchtrack.core import actors, lifecycle
from branchtrack.core.actors import Actor
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.errors import InvalidInput, NotAnswered

_POLL = 0.1


def cancel_launch(database: Database, launch_ref: str, *, actor: Actor | str) -> Launch:
    """Cancel a launch that waits at once; of one with a process, ask its worker to end it.

    Returns the launch as it is now: ``cancelled`` without a branch, or with ``cancel`` set. The
    process then makes a node and ends; `wait_for_end` returns what came of it.

    Raises:
        NotFound: no such launch. Forbidden: the actor may not cancel it. InvalidInput: it has
        ended.
    """
    database.check_writable()
    who = actors.of(actor)
    with database.transaction() as connection:
        launch = launches.find(connection, launch_ref)
        check(who, launch)
        marked = queue.cancel(connection, launch.id, who.label)
        if marked is None:
            state = launches.get(connection, launch.id).state
            raise InvalidInput(
                "launch",
                launch.id,
                "a launch that has not ended",
                what=f"Launch {launch.id} is {state}: it is too late to cancel it.",
            )
        return marked


def check(who: Actor, launch: Launch) -> None:
    """Refuse an actor who may not cancel a launch.

    Raises:
        Forbidden: the role or token does not allow it, or an agent did not order it.
    """
    actors.check(who, "cancel", ["resume", *launch.overrides])
    actors.check_author(who, launch.actor, f"order launch {launch.id}", "launches")


def wait_for_end(database: Database, launch_id: str, seconds: float) -> Launch:
    """Return a launch once it has ended.

    Raises:
        NotAnswered: it has not ended within that time; it is still asked to.
    """
    deadline = time.monotonic() + seconds
    while True:
        with database.read() as connection:
            launch = launches.get(connection, launch_id)
        if launch.state in lifecycle.LAUNCH_ENDS:
            return launch
        if time.monotonic() > deadline:
            raise NotAnswered(
                f"Launch {launch.id} has not ended after {seconds:g} s.",
                safe="It is asked to end, and ends at its next control point.",
                fix="`branchtrack queue` shows whether its worker is still heard of; if it is not, "
                "`branchtrack worker --once` records how the launch ended.",
                request=launch.id,
                state=launch.state,
            )
        time.sleep(_POLL)

"""How a training keeps to its budget, and waits for an agent to look.

An agent looks at the clock, a training at its updates. Where results have to be the same on a slow
machine and on a quick one, the training waits after every so many updates until the agent has seen
them and has asked for what it wants. All of it is read from the record.
"""

from __future__ import annotations

import math
import os
import time

from branchtrack import config
from branchtrack.core.builtin_settings import STOP_AT
from branchtrack.core.records import Segment
from branchtrack.db import metrics, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.watching import agents

#: Seconds between two looks at the record, and for an agent to look.
_LOOK, _PATIENCE = 0.05, 120.0
_METRIC = "eval_loss"


class Unpaced:
    """The pace of a branch that ends at an update of its own, as those of a trial do.

    It is no part of what its run may use, and no agent looks at it.
    """

    def left(self, _update: int) -> float:
        """Return that there is no limit."""
        return math.inf

    def wait(self, _update: int) -> bool:
        """Return that nothing was asked for."""
        return False


def ends_by_itself() -> bool:
    """Return whether this process was started for a branch that ends at an update of its own."""
    database = Database(config.load().database_url)
    try:
        with database.read() as connection:
            segment = segments.of_process(connection, os.getpid(), 0.0)
            launch = None if segment is None else launches.of_branch(connection, segment.branch_id)
            return launch is not None and STOP_AT.name in launch.overrides
    finally:
        database.close()


class Pace:
    """The updates that are left to a run, and the looks of the ``agent`` of that name, if any.

    It is made once the run has begun; ``start`` is the update that this process began at.
    """

    def __init__(self, steps: int, start: int, agent: str | None = None) -> None:
        self._database = Database(config.load().database_url)
        self._start, self._agent = start, agent
        with self._database.read() as connection:
            # What this process has trained itself is not in the record yet.
            self._left = steps - segments.trained_steps(connection, self._segment().run_id)

    def left(self, update: int) -> int:
        """Return how many updates the run may still make after this one."""
        return self._left - (update - self._start)

    def wait(self, update: int) -> bool:
        """Wait until the agent has seen an update; return whether it has asked for something.

        Raises:
            SystemExit: it does not look.
        """
        if self._agent is None:
            return False
        deadline = time.monotonic() + _PATIENCE
        since = None
        while not self._has_looked(update, since):
            if since is None and self._is_written(update):
                since = time.time()
            if time.monotonic() > deadline:
                raise SystemExit(f"The agent {self._agent} has not looked at update {update}.")
            time.sleep(_LOOK)
        with self._database.read() as connection:
            return bool(requests.waiting(connection, self._segment().id))

    def _segment(self) -> Segment:
        with self._database.read() as connection:
            segment = segments.of_process(connection, os.getpid(), 0.0)
        if segment is None:
            raise SystemExit("This training is not recorded.")
        return segment

    def _is_written(self, update: int) -> bool:
        """Return whether the record has the evaluation of an update, and so all before it."""
        segment = self._segment()
        with self._database.read() as connection:
            series = metrics.read(connection, [segment.id], _METRIC).get(segment.id)
        is_there = series is not None and series.steps.size and int(series.steps[-1]) >= update
        return bool(is_there) and segment.step >= update

    def _has_looked(self, update: int, since: float | None) -> bool:
        """Return whether the agent has looked after ``since``, or looks no more."""
        if since is None:
            return False
        segment = self._segment()
        with self._database.read() as connection:
            agent = agents.by_name(connection, segment.run_id, self._agent or "")
            branch = runs.get_branch(connection, segment.branch_id).name
            waiting = requests.waiting(connection, segment.id)
        if agent is None:
            return False
        look = agent.memory.get("looked") or {}
        is_seen = look.get("branch") == branch and look.get("step", -1) >= update
        is_whole = is_seen and look.get("began", 0.0) >= since
        # One that has asked for something looks at nothing until that is done.
        return is_whole or bool(waiting) or agent.state != "running"

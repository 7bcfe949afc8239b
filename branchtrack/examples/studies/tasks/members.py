"""How the members of a population keep to their share of the updates, and wait for each other.

Each compares itself with the others after every so many updates. On a slow machine as on a quick
one it waits there until the agent has decided, and until what it forked has begun.
"""

from __future__ import annotations

import os
import time
from typing import Any

from branchtrack import config
from branchtrack.core.agents.budgets import Spent
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents

#: Seconds between two looks at the record, and for the others to come.
_LOOK, _PATIENCE = 0.1, 180.0


class Members:
    """The pace of one of ``count`` members, which train ``steps`` updates in all.

    ``interval``: updates of a member between two comparisons by the ``agent`` of that name.
    """

    def __init__(self, steps: int, count: int, interval: int, agent: str) -> None:
        self._database = Database(config.load().database_url)
        # One that is replaced trains an update more until it ends.
        comparisons = (steps // count - 1) // interval
        self._share, self._count = (steps - comparisons) // count, count
        self._interval, self._agent = interval, agent

    def left(self, update: int) -> int:
        """Return how many updates the member may still make after this one."""
        return self._share - update

    def wait(self, update: int) -> bool:
        """Wait at a comparison until it is decided, at update 0 until all members are there.

        Return whether something was asked of this member.

        Raises:
            SystemExit: it is not decided.
        """
        if update % self._interval or self.left(update) <= 0:
            return False
        deadline = time.monotonic() + _PATIENCE
        since = None
        while not self._is_decided(update // self._interval, since):
            if since is None and self._generation() >= update // self._interval:
                since = time.time()
            if time.monotonic() > deadline:
                raise SystemExit(f"The members were not compared at update {update}.")
            time.sleep(_LOOK)
        return self._is_asked()

    def _is_asked(self) -> bool:
        with self._database.read() as connection:
            own = segments.of_process(connection, os.getpid(), 0.0)
            return own is not None and bool(requests.waiting(connection, own.id))

    def _is_decided(self, number: int, since: float | None) -> bool:
        """Return whether comparison ``number``, seen at ``since``, has had its consequences."""
        with self._database.read() as connection:
            own = segments.of_process(connection, os.getpid(), 0.0)
            if own is not None and requests.waiting(connection, own.id):
                return True
            agent = None if own is None else agents.by_name(connection, own.run_id, self._agent)
            if own is None or agent is None or since is None:
                return False
            begun = [s for s in segments.list_of_run(connection, own.run_id) if s.started_at]
        looked = (agent.memory.get("looked") or {}).get("began", 0.0)
        is_settled = looked >= since and not agent.memory.get("pending")
        return is_settled and len(begun) >= self._count + Spent.read(agent.spent).branches

    def _generation(self) -> int:
        """Return how many comparisons there were; -1 before the agent has looked at all."""
        with self._database.read() as connection:
            own = segments.of_process(connection, os.getpid(), 0.0)
            agent = None if own is None else agents.by_name(connection, own.run_id, self._agent)
        memory: dict[str, Any] = {} if agent is None else agent.memory.get("controller") or {}
        return int(memory.get("generation", 0)) if "from" in memory else -1

"""An agent in the process that trains: a thread that watches what its own script trains."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from branchtrack import config, control, processes
from branchtrack.agents.execution import Executor
from branchtrack.agents.hiring import hire
from branchtrack.agents.rules import RuleController
from branchtrack.agents.runner import Runner
from branchtrack.checkpoints.location import open_store
from branchtrack.control.proposals.agent_orders import MODES
from branchtrack.core.agents import budgets
from branchtrack.core.names import valid_name
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, InvalidInput

logger = logging.getLogger("branchtrack")
#: Seconds between two looks for the training, and for which the end of the script waits.
_LOOK_SECONDS, _END_SECONDS = 0.5, 5.0
_at_work: set[str] = set()


class ScriptAgent:
    """An agent at work in this process; `stop` ends it, and so does the end of the script."""

    def __init__(self, controller: RuleController, orders: Mapping[str, Any]) -> None:
        self._controller, self._orders = controller, dict(orders)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="branchtrack agent", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the agent, and wait for it for some seconds."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_SECONDS)
        atexit.unregister(self.stop)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            # Nothing that an agent meets may end the training that it watches.
            logger.error("branchtrack: an agent has ended: %s", error)
        finally:
            _at_work.discard(self._orders["name"])

    def _work(self) -> None:
        settings = config.load()
        branch_ref = self._wait_for_training(settings)
        if branch_ref is None:
            return
        database = Database(settings.database_url)
        try:
            agent = hire(database, branch_ref, actor=control.local_actor(), **self._orders)
            executor = Executor(database, open_store(settings.store), settings.home)
            Runner(executor, agent, self._controller, _say).run(self._stop)
        finally:
            database.close()

    def _wait_for_training(self, settings: config.Config) -> str | None:
        """Return the branch that this process trains, once it does; None if it is to stop first."""
        while not self._stop.wait(_LOOK_SECONDS):
            # There may be no database before the training begins.
            with suppress(BranchtrackError):
                branch_ref = _trained_here(settings)
                if branch_ref is not None:
                    return branch_ref
        return None


def start_agent(
    policy: str,
    *,
    mode: str = "propose",
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    budget: Mapping[str, Any] | None = None,
) -> ScriptAgent:
    """Have a policy watch what this script trains, as `branchtrack agent` does from outside.

    It may be called before or after the training begins, whoever's loop it is. After a rollback the
    script begins anew, and so does the call: the agent of that ``name`` (the policy's) goes on with
    what it remembers. Arguments as in `agents.hiring.hire`.

    Raises:
        InvalidInput: there is no such policy or mode, an option or limit is none of its own, the
            name is none, or this process has an agent of that name.
    """
    for field, values in (("options", options), ("budget", budget)):
        if values is not None and not isinstance(values, Mapping):
            raise InvalidInput(field, values, "values by name, such as a dict")
    controller = RuleController(policy, options or {})
    budgets.parse(budget or {})
    if mode not in MODES:
        raise InvalidInput("mode", mode, ", ".join(MODES))
    chosen = valid_name(policy if name is None else name)
    if chosen in _at_work:
        raise InvalidInput("name", chosen, "a name that no other agent of this script has")
    _at_work.add(chosen)
    orders = {
        "policy": policy,
        "mode": mode,
        "name": chosen,
        "options": controller.options,
        "budget": budget,
        "every_branch": controller.every_branch,
    }
    return ScriptAgent(controller, orders)


def _trained_here(settings: config.Config) -> str | None:
    """Return the branch that this process trains now, as RUN/BRANCH."""
    database = Database(settings.database_url)
    try:
        with database.read() as connection:
            segment = segments.of_process(connection, os.getpid(), 0.0)
            is_own = segment is not None and (segment.process or "").startswith(
                processes.own_name()
            )
            if segment is None or not is_own or segment.ended_at is not None:
                return None
            branch = runs.get_branch(connection, segment.branch_id)
            return f"{runs.get_run(connection, segment.run_id).name}/{branch.name}"
    finally:
        database.close()


def _say(text: str) -> None:
    logger.info("branchtrack agent: %s", text)

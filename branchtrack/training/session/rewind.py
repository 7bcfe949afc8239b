"""Going back in place: this process becomes one that trains from an earlier node.

The process restarts its own script under the same pid, in the same terminal and job, as a worker
would start it for a resume: nothing that was trained since can remain in its memory.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from typing import Any

from branchtrack import config, control, processes, scripts, trust
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.actors import Actor
from branchtrack.core.records import Launch, Request
from branchtrack.db import requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, withdrawals
from branchtrack.environment_variables import ALONE_VARIABLE, LAUNCH_VARIABLE, REWIND_VARIABLE
from branchtrack.errors import BranchtrackError, IllegalTransition, InvalidInput
from branchtrack.training.record import environment
from branchtrack.training.session import ordinals

logger = logging.getLogger("branchtrack")


class Rewinder:
    """The rewinds of one session: the one that it answers, and the one that ends it.

    ``started_by`` are the launch and the request that this process was restarted for; the request
    is None for a launch that it ordered itself and carries out in place. ``pending`` are the
    request and the launch that it is to continue with.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        actor: str,
        started_by: tuple[str, str | None] | None = None,
    ) -> None:
        self.pending: tuple[Request, Launch] | None = None
        self.answers = started_by is not None and started_by[1] is not None
        self._database, self._store, self._actor = database, store, actor
        self._started_by = started_by

    def carries_out(self, launch_id: str) -> None:
        """Note that this process carries out a launch that it has ordered itself."""
        self._started_by = launch_id, None

    @property
    def request_id(self) -> str | None:
        """The request that the restarted process will answer."""
        return None if self.pending is None else self.pending[0].id

    def order(self, request: Request) -> dict[str, Any]:
        """Create the branch to continue in, as this process's own; return the answer's facts.

        Every byte of the node is read first.

        Raises:
            NotFound, InvalidInput, NameTaken, CheckpointError, LaunchFailed, StorageError,
            UntrustedHome: it cannot be ordered; nothing was changed, and training continues.
        """
        requested = request.requested
        self._refuse_foreign_command(request.run_id)
        self._refuse_another_script(request.run_id, requested["node"])
        launch = control.create_launch(
            self._database,
            self._store,
            requested["node"],
            actor=Actor(request.actor),
            name=requested.get("name"),
            settings=requested.get("values") or {},
            reason=request.reason,
            worker=processes.own_name(),
            # This process is about to leave its state.
            every_byte=True,
        )
        with self._database.transaction() as connection:
            segments.hand_over(connection, launch.segment_id)
            launches.move(connection, launch.id, "running", request.actor, pid=os.getpid())
            branch = runs.get_branch(connection, launch.branch_id)
        self.pending = request, launch
        return {
            "branch": branch.name,
            "node": launch.fork_node_id,
            "launch": launch.id,
            "segment": launch.segment_id,
        }

    def _refuse_foreign_command(self, run_id: str) -> None:
        """Check the command: a run continued in a home from elsewhere may have any recorded.

        Raises:
            UntrustedHome: it is not this process's own, and the home is not trusted.
        """
        with self._database.read() as connection:
            recorded = runs.get_run(connection, run_id).entry_point or {}
        current = environment.entry_point() or {}
        if any(recorded.get(name) != current.get(name) for name in ("argv", "cwd", "env")):
            trust.check(config.load())

    def _refuse_another_script(self, run_id: str, node: str) -> None:
        """Refuse if the script has changed: the restarted process would read the new one."""
        with self._database.read() as connection:
            entry_point = runs.get_run(connection, run_id).entry_point
        if scripts.has_changed(entry_point, environment.describe()):
            path = str(scripts.script_of(entry_point))
            raise InvalidInput(
                "script",
                path,
                f"the script as this process began with it, or `branchtrack resume {node}`, "
                "which starts a new process with the script as it is now",
                what=f"{path} has changed since this process began, and a rewind would restart "
                "it: training continues as it was.",
            )

    def record_begin(self) -> None:
        """Answer the rewind that this process was restarted for: its segment has begun."""
        self.answers = False
        self._answer("done", None)

    def record_end(self, status: str, error: BaseException | str | None) -> None:
        """Record the end of a launch that no worker watches, and of its segment if needed."""
        if self._started_by is None:
            return
        why = _words(error)
        try:
            if self.answers:
                self._answer("failed", why or "The process ended before it reached the node.")
            self._end(self._started_by[0], status, why)
        except BranchtrackError as trouble:
            logger.error("branchtrack could not record the end of the launch: %s", trouble)

    def give_up(self, why: str) -> None:
        """Fail the pending rewind, because the process is about to end."""
        assert self.pending is not None
        (request, launch), self.pending = self.pending, None
        self._started_by = launch.id, request.id
        try:
            self._answer("failed", why)
            self._end(launch.id, "failed", why)
        except BranchtrackError as trouble:
            logger.error("branchtrack could not record that it does not rewind: %s", trouble)

    def restart(self) -> None:
        """Restart from the node of the pending rewind; return only if that is impossible."""
        assert self.pending is not None
        (request, launch), self.pending = self.pending, None
        try:
            entry_point = self._command(launch)
            self._database.close()
            exec_process(entry_point, config.load(), launch.id, request.id)
        except Exception as error:
            why = _words(error) or ""
            logger.error("branchtrack could not rewind: %s", why)
            self._started_by = launch.id, request.id
            self._answer("failed", why)
            self._end(launch.id, "failed", why)

    def order_of_restart(self) -> dict[str, Any] | None:
        """Return what another process of this training needs to restart, too; None if none does."""
        if self.pending is None:
            return None
        request, launch = self.pending
        ids = {"launch": launch.id, "request": request.id}
        return {**ids, "entry_point": self._command(launch)}

    def _command(self, launch: Launch) -> dict[str, Any]:
        with self._database.read() as connection:
            recorded = runs.get_run(connection, launch.run_id).entry_point
        return launch.entry_point or recorded or {}

    def _answer(self, state: str, why: str | None) -> None:
        assert self._started_by is not None and self._started_by[1] is not None
        with self._database.transaction() as connection, contextlib.suppress(IllegalTransition):
            requests.move(connection, self._started_by[1], state, actor=self._actor, error=why)

    def _end(self, launch_id: str, status: str, why: str | None) -> None:
        with self._database.transaction() as connection, contextlib.suppress(IllegalTransition):
            launch = launches.get(connection, launch_id)
            segments.end(connection, launch.segment_id, "failed", actor=self._actor, error=why)
            state = "failed" if status == "failed" else "ended"
            launch = launches.move(connection, launch_id, state, self._actor, error=why)
            if state == "failed":
                withdrawals.withdraw(connection, launch, self._actor)


def exec_process(
    entry_point: Mapping[str, Any], settings: Config, launch: str, request: str
) -> None:
    """Replace this process by the run's own command, which carries out a launch, by its id.

    ``request`` is the id of the rewind that it answers.

    Returns only by raising.

    Raises:
        OSError: the command cannot be started.
    """
    argv = [str(word) for word in entry_point["argv"]]
    environment = {
        **os.environ,
        **entry_point.get("env", {}),
        **settings.environment(),
        LAUNCH_VARIABLE: launch,
        REWIND_VARIABLE: request,
        ALONE_VARIABLE: str(int(ordinals.this_process().alone)),
    }
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(OSError, ValueError):
            handler.flush()
    for child in multiprocessing.active_children():
        # Workers of data loaders would wait for ever for a parent that no longer knows them.
        child.kill()
        child.join(1.0)
    os.chdir(entry_point.get("cwd") or ".")
    command = argv[0] if os.access(argv[0], os.X_OK) else sys.executable
    os.execve(command, [command, *argv[1:]], environment)


def _words(error: BaseException | str | None) -> str | None:
    """Return why something failed, in one line."""
    if error is None or isinstance(error, str):
        return error
    return str(error) if isinstance(error, BranchtrackError) else f"{type(error).__name__}: {error}"

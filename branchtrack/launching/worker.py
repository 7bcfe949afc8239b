"""The worker: claims queued launches, starts their processes, and records how they end.

A launch is started once, whatever dies when: its process waits at a gate until the database says
that it runs. A worker that starts after another one died takes over its launches. It must not know
what a training process does, nor decide what to launch.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from branchtrack import control, processes, trust
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config
from branchtrack.control import leftovers
from branchtrack.core.records import Launch, Segment
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.errors import BranchtrackError, IllegalTransition, LaunchFailed
from branchtrack.launching import child_environment, local_process

#: Seconds between two looks at the queue and at the children.
POLL = 0.2
#: Seconds between two searches for launches whose worker has died.
RECOVER_EVERY = 15.0
_CLEAN = ("finished", "stopped")
#: Exit codes, besides 0, of a process that answered a signal with a node. Python itself ends by
#: SIGINT after an uncaught KeyboardInterrupt.
_SIGNALLED = frozenset(
    [128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] + [-signal.SIGINT]
)
_NUMBERS = itertools.count(1)
_TRAINED_NOTHING = (
    "The script ended with exit code 0 and trained nothing with branchtrack: it never took up the "
    "branch that it was started for. Have it call branchtrack.start(...), or train() of a "
    "branchtrack.make_branching(Trainer), as the script that made the run did; then resume again."
)


@dataclass
class Child:
    """A training process that is watched; ``process`` is None if another worker started it."""

    launch: Launch
    pid: int
    process: subprocess.Popen[bytes] | None = None

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        if self.process is not None:
            return self.process.poll() is not None
        return not processes.is_alive(self.pid, f"{LAUNCH_VARIABLE}={self.launch.id}")

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs or if unknown."""
        return None if self.process is None else self.process.returncode


class Worker:
    """A worker that starts and watches up to ``jobs`` training processes; for use by one thread."""

    def __init__(
        self,
        database: Database,
        config: Config,
        *,
        jobs: int = 1,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.database, self.config, self.jobs, self.say = database, config, jobs, say
        # One process may run two workers; neither may take the launches of the other.
        self.name = f"{processes.own_name()}#{next(_NUMBERS)}"
        self.children: dict[str, Child] = {}
        self._last_condition = ""

    def run(self, stop: threading.Event, *, once: bool = False, only: str | None = None) -> None:
        """Work until ``stop`` is set, or with ``once`` until the queue is empty and all have ended.

        ``only`` is the id of the one launch to carry out. Children that still train are left
        running.

        Raises:
            StorageError: the database failed, with ``once`` or ``only``; without them the worker
            retries.
        """
        patient = not once and only is None
        if not self.database.read_only and (removed := self._clear()):
            self.say(removed)
        waited = RECOVER_EVERY
        while not stop.is_set():
            try:
                if only is None and waited >= RECOVER_EVERY:
                    waited = 0.0
                    self.recover()
                started = not stop.is_set() and self._claim_more(only)
                self.look()
                if not patient and not started and not self.children:
                    return
            except BranchtrackError as error:
                if not patient:
                    raise
                self._say_once(f"{error} Trying again.")
                stop.wait(1.0)
            waited += POLL
            stop.wait(POLL)

    def claim(self, launch_id: str | None = None) -> Launch | None:
        """Take the oldest queued launch, or the launch ``only``, and start its process.

        Returns:
            The launch as it is now (``running`` or ``failed``), or None if none was queued.

        Raises:
            UntrustedHome: the home's user does not trust it; the launch stays queued.
        """
        with self.database.transaction() as connection:
            launch = launches.claim(connection, self.name, launch_id)
            if launch is None:
                return None
            trust.check(self.config)
            before = segments.environment_before(connection, launch.node_id)
            recorded = runs.get_run(connection, launch.run_id).entry_point
        compared = child_environment.compared(before, launch)
        entry_point = launch.entry_point or recorded
        log = local_process.log_path(self.config, launch.id)
        try:
            child_environment.log_differences(compared, self.config, log)
            process = local_process.start(
                entry_point,
                launch.id,
                self.config,
                log,
                compared.variables,
                keep=bool((launch.environment or {}).get("keep")),
            )
        except LaunchFailed as error:
            return self._record_end(launch, None, str(error))
        try:
            with self.database.transaction() as connection:
                launch = launches.move(
                    connection,
                    launch.id,
                    "running",
                    self.name,
                    pid=process.pid,
                    log=str(log),
                    environment={**(launch.environment or {}), **compared.as_dict()},
                )
        except BranchtrackError:
            # The database would not know the process, which still waits at its gate and has done
            # nothing.
            with process:
                process.kill()
            raise
        self.children[launch.id] = Child(launch, process.pid, process)
        local_process.release(process)
        self.say(f"Started {self.describe(launch)}, log in {log}")
        return launch

    def look(self) -> list[Launch]:
        """Record the children that have ended, and return their launches."""
        over = [child for child in self.children.values() if child.has_ended()]
        ended = []
        for child in over:
            ended.append(self._record_end(child.launch, child.exit_code))
            del self.children[child.launch.id]
        return ended

    def recover(self, only: str | None = None) -> None:
        """Take over the launches, or the one named, of workers that died on this machine.

        A launch that had not begun goes back into the queue, one that still trains is watched until
        it ends, and one that died with its worker is recorded as failed.
        """
        with self.database.read() as connection:
            unfinished = launches.unfinished(connection)
        for launch in unfinished:
            if launch.state == "queued" or launch.id in self.children or not launch.worker:
                continue
            if only is not None and launch.id != only:
                continue
            # A launch of this worker's without a child is one whose start the database did not
            # record.
            if launch.worker == self.name or processes.is_gone(launch.worker):
                self._take_over(launch)

    def describe(self, launch: Launch) -> str:
        """Return a label of the form ``run/branch (pid 123)``."""
        with self.database.read() as connection:
            run = runs.get_run(connection, launch.run_id).name
            branch = launches.branch_name(connection, launch)
        return f"{run}/{branch}" + (f" (pid {launch.pid})" if launch.pid else "")

    def terminate(self, launch_id: str) -> None:
        """Ask a child's process to end, by signal; `look` records how it ended."""
        child = self.children.get(launch_id)
        if child is not None and child.process is not None:
            child.process.terminate()

    def still_training(self) -> list[str]:
        """Return descriptions of the children that continue without this worker."""
        return [self.describe(c.launch) for c in self.children.values() if not c.has_ended()]

    def _clear(self) -> str:
        try:
            return leftovers.clear(self.database, open_store(self.config.store))
        except BranchtrackError:
            # Whatever is wrong, the launches will run into it and report it.
            return ""

    def _say_once(self, text: str) -> None:
        """Report a condition once, when it begins, however often it is retried."""
        if text != self._last_condition:
            self._last_condition = text
            self.say(text)

    def _claim_more(self, only: str | None) -> bool:
        started = False
        while len(self.children) < self.jobs and self.claim(only) is not None:
            started = True
        return started

    def _take_over(self, launch: Launch) -> None:
        with self.database.transaction() as connection:
            if not launches.take_over(connection, launch, self.name):
                return
            if launch.state == "starting":
                launches.move(connection, launch.id, "queued", self.name, worker=None)
                return
            launch = launches.get(connection, launch.id)
        self.say(f"Taking over {self.describe(launch)} from a worker that died")
        self.children[launch.id] = Child(launch, launch.pid or 0)

    def _record_end(self, launch: Launch, exit_code: int | None, why: str = "") -> Launch:
        with self.database.transaction() as connection:
            if launches.is_withdrawn(connection, launch):
                # Its process has recorded its own end already, or another worker has.
                return launches.get(connection, launch.id)
            segment = segments.get(connection, launch.segment_id)
            well = exit_code in (0, None) or exit_code in _SIGNALLED
            clean = segment.status in _CLEAN and well and not why
            error = None if clean else why or self._why(launch, exit_code, segment)
            if error is not None:
                self._close_segment(connection, launch, error)
            try:
                launch = launches.move(
                    connection,
                    launch.id,
                    "ended" if clean else "failed",
                    self.name,
                    exit_code=exit_code,
                    error=error,
                )
            except IllegalTransition:
                launch = launches.get(connection, launch.id)
            if launch.state == "failed" and segment.started_at is None:
                launches.withdraw(connection, launch, self.name)
        self.say(f"{self.describe(launch)} {launch.state}" + (f": {error}" if error else ""))
        return launch

    def _close_segment(self, connection: Connection, launch: Launch, error: str) -> None:
        segments.end(connection, launch.segment_id, "failed", actor=self.name, error=error)
        control.expire_unanswered(connection, launch.segment_id, self.name, error)

    def _why(self, launch: Launch, exit_code: int | None, segment: Segment) -> str:
        log = Path(launch.log or local_process.log_path(self.config, launch.id))
        if exit_code and (refusal := local_process.refusal(log)):
            return refusal
        error = segment.error
        if exit_code == 0 and not error and segment.started_at is None:
            return _TRAINED_NOTHING
        words = error or local_process.reason_in_log(log)
        if exit_code == 0 and not error:
            return "The process ended with exit code 0 and did not finish its branch."
        return f"{local_process.ending(exit_code)} {words}".strip()


@contextmanager
def in_background(worker: Worker) -> Iterator[None]:
    """Run ``worker`` in a thread while the block runs; its children continue afterwards."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,), name="branchtrack-worker")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

"""The worker: claims queued launches, starts their processes, and watches them until they end.

A launch is started once, whatever dies when: its process waits at a gate until the database says
that it runs. It must not know what a training process does, nor decide what to launch.
"""

from __future__ import annotations

import itertools
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection

from branchtrack import processes, trust
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.remote import spool
from branchtrack.config import Config
from branchtrack.control import leftovers
from branchtrack.control.store import spooled
from branchtrack.control.trials import advancing
from branchtrack.core.records import Launch, WorkerRow
from branchtrack.core.trials.records import RUNNING
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue, workers
from branchtrack.errors import BranchtrackError, IllegalTransition, LaunchFailed
from branchtrack.launching import (
    child_environment,
    devices,
    endings,
    local_process,
    log_limit,
    starts,
)
from branchtrack.launching.children import Child
from branchtrack.launching.clusters.shepherd import Shepherd
from branchtrack.launching.leases import BEAT_EVERY, Leases

logger = logging.getLogger("branchtrack")

#: Seconds between two looks at the queue and at the children.
POLL = 0.2
#: Seconds between two searches for launches whose worker has died.
RECOVER_EVERY = 2.0
_NUMBERS = itertools.count(1)


class Worker:
    """A worker that starts and watches up to ``slots`` training processes; for use by one thread.

    With several slots each process gets one of ``gpus`` (as `devices.visible` returns them). Of
    the launches that need labels it takes those whose labels are all among ``labels``. Launches of
    clusters it has submitted and looked after; within a ``job`` (its columns, see `db.orders.jobs`)
    it carries out the one of that job.
    """

    def __init__(
        self,
        database: Database,
        config: Config,
        *,
        slots: int = 1,
        labels: Collection[str] = (),
        gpus: Sequence[str] = (),
        job: Mapping[str, str | None] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.database, self.config, self.slots, self.say = database, config, slots, say
        self.labels, self.gpus, self.job = frozenset(labels), list(gpus), job
        # One process may run two workers; neither may take the launches of the other.
        self.name = f"{processes.own_name()}#{next(_NUMBERS)}"
        self.children: dict[str, Child] = {}
        self._leases = Leases(database, config, self.name)
        self.shepherd = Shepherd(database, config, self.name, say=say)
        self._log_limit = log_limit.limit_in_force()
        self._offers_slots = False
        self._began, self._next_beat = time.time(), 0.0
        self._last_condition = ""
        self._finishing: threading.Thread | None = None

    def run(self, stop: threading.Event, *, once: bool = False, only: str | None = None) -> None:
        """Work until ``stop`` is set, or with ``once`` until the queue is empty and all have ended.

        ``only`` is the id of the one launch to carry out. Children that still train are left
        running; `shutdown.stop_children` ends them.

        Raises:
            StorageError: the database failed, with ``once`` or ``only`` and nothing that trains;
            otherwise the worker retries.
        """
        patient = not once and only is None
        self._offers_slots = only is None
        if not self.database.read_only and (removed := self._clear()):
            self.say(removed)
        next_search = 0.0
        while not stop.is_set():
            try:
                if only is None and time.monotonic() >= next_search:
                    next_search = time.monotonic() + RECOVER_EVERY
                    self.recover()
                    self._advance_trials()
                if only is None:
                    self.shepherd.look()
                started = not stop.is_set() and self._claim_more(only)
                ended = self.look()
                if ended and patient:
                    self._finish_spools()
                if ended and only is None:
                    self._advance_trials()
                # One that has just ended leaves its slot to the next in the queue.
                if not (patient or started or ended or self.children):
                    break
            except BranchtrackError as error:
                # What trains goes on, and its end has to be recorded.
                if not (patient or self.children):
                    raise
                self.say_once(f"{error} Trying again.")
                stop.wait(1.0)
            stop.wait(POLL)
        if not self.children:
            self.leave()

    def claim(self, launch_id: str | None = None) -> Launch | None:
        """Take the next queued launch, or the launch named, and start its process.

        Returns:
            The launch as it is now (``running`` or ``failed``), or None if none was queued.

        Raises:
            UntrustedHome: the home's user does not trust it; the launch stays queued.
        """
        with self.database.read() as connection:
            if not queue.has_next(connection, launch_id, labels=self.labels, job=self.job):
                return None
        with self.database.transaction() as connection:
            device = self._free_device(connection)
            launch = queue.claim(
                connection,
                self.name,
                launch_id,
                labels=self.labels,
                device=device,
                job=self.job,
            )
            if launch is None:
                return None
            trust.check(self.config)
            start, why = None, ""
            try:
                start = starts.prepare(connection, launch, slots=self.slots, home=self.config.home)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                # Any worker would fail at it again: the others in the queue must not wait for it.
                logger.exception("branchtrack cannot prepare launch %s.", launch.id)
                why = f"{type(error).__name__}: {error}"
        if start is None:
            return self._record_end(launch, None, f"It cannot be prepared: {why}.")
        log = local_process.log_path(self.config, launch.id)
        try:
            child_environment.log_differences(start.compared, self.config, log)
            process = local_process.start(
                start.entry_point,
                launch.id,
                self.config,
                log,
                start.variables,
                keep=start.keeps_environment,
                before=start.before,
            )
        except LaunchFailed as error:
            return self._record_end(launch, None, str(error))
        return self._run(launch, process, {**start.facts, "log": str(log)})

    def look(self) -> list[Launch]:
        """Give a sign of life, end what was cancelled, and record the children that have ended.

        Returns the launches that have ended.
        """
        self.give_sign()
        if self.children:
            self._end_cancelled()
        return self.collect()

    def give_sign(self) -> None:
        """Have others know that this worker works, if they have not heard of it for a while."""
        if time.monotonic() >= self._next_beat:
            self._beat()

    def collect(self, *, requeue: bool = False) -> list[Launch]:
        """Record the children that have ended, and return their launches; see `endings.record`."""
        over = [child for child in self.children.values() if child.has_ended()]
        ended = []
        for child in over:
            ended.append(self._record_end(child.launch, child.exit_code, requeue=requeue))
            del self.children[child.launch.id]
        return ended

    def recover(self, only: str | None = None) -> None:
        """Take over the launches, or the one named, of workers that have died; see `leases`."""
        for child in self._leases.recover(self.children, only):
            self.say(f"Taking over {self.describe(child.launch)} from a worker that died")
            self.children[child.launch.id] = child

    def leave(self) -> None:
        """Have others know that this worker has ended, as far as the database can be written."""
        try:
            with self.database.transaction() as connection:
                workers.leave(connection, self.name)
        except BranchtrackError as error:
            # It is forgotten because it is silent.
            self.say_once(str(error))
        self._next_beat = 0.0

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

    def _run(
        self, launch: Launch, process: subprocess.Popen[bytes], facts: Mapping[str, Any]
    ) -> Launch:
        """Record that a launch runs, and let its process begin."""
        try:
            with self.database.transaction() as connection:
                launch = launches.move(
                    connection,
                    launch.id,
                    "running",
                    self.name,
                    owner=self.name,
                    pid=process.pid,
                    **facts,
                )
        except BranchtrackError as error:
            # The database would not know the process, which still waits at its gate and has done
            # nothing.
            with process:
                process.kill()
            if not isinstance(error, IllegalTransition):
                raise
            # This worker was taken for dead, and another has the launch.
            with self.database.read() as connection:
                return launches.get(connection, launch.id)
        self.children[launch.id] = Child(launch, process.pid, process)
        local_process.release(process)
        self.say(f"Started {self.describe(launch)}, log in {facts['log']}")
        return launch

    def _free_device(self, connection: Connection) -> str | None:
        """Return the GPU that the next launch gets: with one slot, what this worker sees."""
        if self.slots == 1 or not self.gpus:
            return None
        in_use = queue.devices_in_use(connection, socket.gethostname())
        return devices.least_used(self.gpus, in_use)

    def _beat(self) -> None:
        """Record a sign of life, and keep the logs of the children short."""
        slots = self.slots if self._offers_slots else 0
        row = WorkerRow(
            name=self.name,
            host=socket.gethostname(),
            slots=slots,
            labels=sorted(self.labels),
            devices=self.gpus,
            started_at=self._began,
            heartbeat_at=time.time(),
        )
        with self.database.transaction() as connection:
            workers.beat(connection, row)
        self._next_beat = time.monotonic() + BEAT_EVERY
        for launch_id in self.children:
            log_limit.shorten(local_process.log_path(self.config, launch_id), self._log_limit)

    def _end_cancelled(self) -> None:
        with self.database.read() as connection:
            cancelled = queue.cancelled_among(connection, self.children)
        for launch in cancelled:
            child = self.children[launch.id]
            if child.asked_at is None:
                self.say(f"{self.describe(launch)} is cancelled by {launch.cancel}; it ends")
            child.ask_to_end()

    def _record_end(
        self, launch: Launch, exit_code: int | None, why: str = "", *, requeue: bool = False
    ) -> Launch:
        launch = endings.record(
            self.database, self.config, self.name, launch, exit_code, why, requeue=requeue
        )
        error = f": {launch.error}" if launch.error else ""
        self.say(f"{self.describe(launch)} {launch.state}{error}")
        return launch

    def _advance_trials(self) -> None:
        """Note what has ended of trials, and queue their next pairs."""
        for trial in advancing.advance_all(self.database, open_store(self.config.store)):
            if trial.state != RUNNING:
                why = f": {trial.error}" if trial.error else ""
                self.say(f"Trial {trial.id} is {trial.state}{why}")

    def _clear(self) -> str:
        try:
            store = open_store(self.config.store)
            words = (spooled.finish(self.database, store), leftovers.clear(self.database, store))
            return " ".join(filter(None, words))
        except BranchtrackError:
            # Whatever is wrong, the launches will run into it and report it.
            return ""

    def _finish_spools(self) -> None:
        """Upload what a child that was killed has left, while this worker goes on."""
        if self._finishing is not None and self._finishing.is_alive():
            return
        if not spool.waiting(self.config.home)[0]:
            return

        def work() -> None:
            with suppress(BranchtrackError):
                if words := spooled.finish(self.database, open_store(self.config.store)):
                    self.say(words)

        self._finishing = threading.Thread(target=work, name="branchtrack uploads", daemon=True)
        self._finishing.start()

    def say_once(self, text: str) -> None:
        """Report a condition once, when it begins, however often it is retried."""
        if text != self._last_condition:
            self._last_condition = text
            self.say(text)

    def _claim_more(self, only: str | None) -> bool:
        started = False
        while len(self.children) < self.slots and self.claim(only) is not None:
            started = True
        return started


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

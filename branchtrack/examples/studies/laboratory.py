"""The folder of a study: its own home, in which scripts are trained while agents watch them.

Trainings and agents are processes, started as a user would start them; what came of them is read
from the record.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from branchtrack import config, control, permissions
from branchtrack.core.records import Run
from branchtrack.db import runs, segments
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.errors import LaunchFailed, NotFound
from branchtrack.examples.studies import recorded
from branchtrack.examples.studies.outcome import Plan
from branchtrack.examples.studies.recorded import Training
from branchtrack.launching import local_process

TASKS = "branchtrack.examples.studies.tasks"
#: Seconds between two looks for a run, and in which a process has to end once it was asked to.
_LOOK, _END = 0.1, 15.0
_VARIABLES = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Laboratory:
    """A study's folder; `close` ends what still runs. Arms may use it from several threads."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        #: What the services of a study make known to its arms, such as an address.
        self.services: dict[str, Any] = {}
        home = folder.absolute() / "home"
        # Its own database, also if the user's is elsewhere.
        self.config = config.load(home, f"sqlite:///{home}/branchtrack.db")
        self.database = open_database(self.config, create=True)
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        #: When it was opened, by the monotonic clock.
        self.began = time.monotonic()

    def train(
        self,
        task: str,
        name: str,
        *,
        agent: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        **options: object,
    ) -> Training:
        """Train a task of `TASKS` to its end, and return what was recorded.

        ``options`` are those of its script. ``agent`` are the words of `branchtrack agent RUN`; the
        training then waits at each evaluation until that agent has looked. ``variables`` are of
        the environment.

        Raises:
            LaunchFailed: the training or the agent failed.
        """
        words = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        words += ["--name", name, *(("--agent", "watcher") if agent else ())]
        command = [sys.executable, "-m", f"{TASKS}.{task}", *words]
        began = time.time()
        with self.process(command, name, variables) as process:
            run = self.run_of(process, began, name)
            if not agent:
                self.wait(process, name)
            else:
                self._watch(process, run, name, agent)
        with self.database.read() as connection:
            return recorded.read(connection, runs.get_run(connection, run.id))

    def _watch(
        self, process: subprocess.Popen[bytes], run: Run, name: str, agent: Sequence[str]
    ) -> None:
        """Have an agent watch a training until that has ended."""
        words = ("agent", run.name, *agent, "--name", "watcher", "--look", "0.2", "--json")
        with self.command(*words, log=f"{name}-agent") as watcher:
            self.wait(process, name)
            if watcher.poll() is None:
                # It would wait some seconds for another branch. What it did is in the record.
                watcher.terminate()
                watcher.wait()
            elif watcher.returncode:
                raise self._failed(watcher, f"{name}-agent")

    def command(self, *words: str, log: str) -> Any:
        """Start a command of branchtrack in the study's home, as a context that ends it."""
        return self.process([sys.executable, "-m", "branchtrack", *words], log)

    @contextmanager
    def process(
        self, command: Sequence[str], log: str, variables: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process, whose output is the log of that name; it ends with the block."""
        environment = {**os.environ, **self.config.environment(), **_VARIABLES}
        environment |= variables or {}
        environment.pop(LAUNCH_VARIABLE, None)
        with open(self.log(log), "wb", opener=permissions.opener(self.config.home)) as file:
            with self._lock:
                if self._is_closed:
                    raise KeyboardInterrupt
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
                )
                self._processes.add(process)
        try:
            yield process
        finally:
            _end(process)
            with self._lock:
                self._processes.discard(process)

    def log(self, name: str) -> Path:
        """Return where the output of a process goes."""
        return self.config.logs / f"{name.replace('/', '_')}.log"

    def run_of(self, process: subprocess.Popen[bytes], since: float, log: str) -> Run:
        """Return the run of a training, once it has begun.

        Raises:
            LaunchFailed: it ended before.
        """
        while True:
            is_over = process.poll() is not None
            with self.database.read() as connection:
                segment = segments.of_process(connection, process.pid, since)
                if segment is not None:
                    return runs.get_run(connection, segment.run_id)
            if is_over:
                raise self._failed(process, log)
            time.sleep(_LOOK)

    def wait(self, process: subprocess.Popen[bytes], log: str) -> None:
        """Wait for the end of a process.

        Raises:
            LaunchFailed: it failed.
        """
        if process.wait():
            raise self._failed(process, log)

    def forget(self, name: str) -> None:
        """Move what an interrupted study left of a training to the trash."""
        with self.database.read() as connection:
            names = runs.names(connection)
        for left in sorted(names):
            if left == name or left.startswith(f"{name}-"):
                why = "the study was interrupted, and trains this again"
                # It may be in the trash already.
                with suppress(NotFound):
                    control.delete(self.database, left, actor=control.local_actor(), reason=why)

    def close(self) -> None:
        """End all processes that still run, and start none any more."""
        with self._lock:
            self._is_closed = True
            processes = list(self._processes)
        for process in processes:
            _end(process)

    def _failed(self, process: subprocess.Popen[bytes], log: str) -> LaunchFailed:
        path = self.log(log)
        words = f"{local_process.ending(process.returncode)} {local_process.reason_in_log(path)}"
        return LaunchFailed(
            f"{log}: {words.strip()}",
            safe="What the study had trained before stays; started again, it goes on there.",
            fix=f"The whole log is {path}.",
            launch=None,
            exit_code=process.returncode,
            log=str(path),
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    for order in (process.terminate, process.kill):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                order()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END)

"""One trial of exactness: a process that trains a stretch again, watched until it ends.

Whatever happens to the process, all that remains is the certificate that it wrote, or the log if it
failed. It must not know terminals, nor how states are compared.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from branchtrack import scripts
from branchtrack.config import Config
from branchtrack.core import exactness, variables
from branchtrack.core.exactness import Trial
from branchtrack.core.names import new_id
from branchtrack.core.records import Certificate, Node
from branchtrack.db import certificates, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.environment_variables import CERTIFY_VARIABLE
from branchtrack.errors import InvalidInput, LaunchFailed
from branchtrack.launching import local_process, processes

#: Seconds between two looks at the process.
POLL = 0.1
#: Called with the step that the process has reached, None before the first.
Watch = Callable[[int | None], None]


def choose_nodes(
    database: Database,
    branch_ref: str,
    *,
    start: str | None = None,
    target: str | None = None,
    steps: int | None = None,
) -> tuple[Node, Node]:
    """Return the nodes of a branch between which a trial trains; see `exactness.choose`.

    Raises:
        NotFound: no such branch or node.
        InvalidInput: the branch has no such stretch.
    """
    if steps is not None and steps < 1:
        raise InvalidInput("steps", steps, "a whole number from 1 on")
    if steps is not None and start is not None:
        raise InvalidInput("steps", steps, "either steps or the node to begin from, not both")
    with database.read() as connection:
        branch = runs.find_branch(connection, branch_ref)
        branch_nodes = nodes.of_branch(connection, branch.id)
        ends = {
            name: nodes.find(connection, ref)
            for name, ref in (("start", start), ("target", target))
            if ref is not None
        }
    for name, node in ends.items():
        if node.branch_id != branch.id:
            field = {"start": "from", "target": "to"}[name]
            raise InvalidInput(field, node.id, f"a node of the branch {branch.name}")
    return exactness.choose(branch_nodes, steps=steps, **ends)


def certify(
    database: Database, config: Config, start: Node, target: Node, watch: Watch
) -> Certificate:
    """Train from one node to another again, in the foreground, and return the verdict.

    Raises:
        LaunchFailed: the process cannot be started, or ended without a verdict; nothing is
        recorded. Whatever ``watch`` raises ends the process.
    """
    trained = train_again(database, config, start, target, watch)
    with database.read() as connection:
        certificate = certificates.find(connection, trained.trial.certificate)
    if certificate is None:
        raise failure("There is no certificate.", trained.exit_code, trained.log)
    trained.log.unlink(missing_ok=True)
    return certificate


@dataclass(frozen=True)
class TrainedAgain:
    """A trial that has ended; ``digest`` is of the state that was reached, if it noted one."""

    trial: Trial
    exit_code: int
    log: Path
    digest: str | None


def train_again(
    database: Database,
    config: Config,
    start: Node,
    target: Node,
    watch: Watch,
    *,
    rebuild: bool = False,
    entry_point: Mapping[str, Any] | None = None,
) -> TrainedAgain:
    """Train from one node to another again, in a process of its own, and wait for its end.

    ``entry_point`` as `attend`.

    Raises:
        LaunchFailed: the process cannot be started. Whatever ``watch`` raises ends the process.
    """
    with TemporaryDirectory(prefix="branchtrack-") as folder:
        progress = Path(folder) / "step"
        trial = Trial(new_id(), start.id, target.id, str(progress), os.getpid(), rebuild)
        log = config.logs / f"{'rebuild' if rebuild else 'certify'}-{trial.certificate}.log"
        # The folder holds its temporary files, and is removed however the process ends.
        extra = {CERTIFY_VARIABLE: trial.to_text(), "TMPDIR": folder}
        exit_code = attend(
            database, config, start, extra, log, lambda: watch(_step(progress)), entry_point
        )
        reached = Path(trial.reached)
        digest = reached.read_text() if reached.exists() else None
        return TrainedAgain(trial, exit_code, log, digest)


def attend(
    database: Database,
    config: Config,
    start: Node,
    extra: Mapping[str, str],
    log: Path,
    watch: Callable[[], None],
    entry_point: Mapping[str, Any] | None = None,
    *,
    alone: bool = False,
) -> int:
    """Start the command of a node's run for one purpose, wait, and return its exit code.

    ``extra`` are variables that say what it is for; ``watch`` is called again and again. An
    ``entry_point`` is the command instead of the recorded one. ``alone``: by one process, however
    many trained the node.

    Raises:
        LaunchFailed: the process cannot be started. Whatever ``watch`` raises ends the process.
    """
    with database.read() as connection:
        before = segments.environment_before(connection, start.id)
        recorded = runs.get_run(connection, start.run_id).entry_point
    command = dict(entry_point) if entry_point else scripts.relocated(recorded, config.home)
    compared = variables.compare(before, os.environ)
    process = local_process.start(
        command,
        None,
        config,
        log,
        {**compared.variables, **extra},
        before=processes.before(start.settings, command, alone=alone),
    )
    with process:
        try:
            local_process.release(process)
            while process.poll() is None:
                watch()
                time.sleep(POLL)
        except BaseException:
            _end(process)
            log.unlink(missing_ok=True)
            raise
    return process.returncode


def _step(progress: Path) -> int | None:
    try:
        text = progress.read_text()
    except FileNotFoundError:
        return None
    # The file may be read while it is being written.
    return int(text) if text.isdigit() else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything it started, which is one session."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def failure(
    what: str, exit_code: int, log: Path, aim: str = "the node that it was started for"
) -> LaunchFailed:
    """Return the error of a process that ended before it had reached its ``aim``."""
    words = local_process.reason_in_log(log)
    if exit_code == 0:
        words = f"It did not reach {aim}. {words}"
    return LaunchFailed(
        f"{what} {local_process.ending(exit_code)} {words}".strip(),
        safe="Nothing was recorded.",
        fix=f"Its log is {log}.",
        launch=None,
        exit_code=exit_code,
        log=str(log),
    )

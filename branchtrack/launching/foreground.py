"""Launches carried out in the foreground, or handed to a worker of their own.

It must not know terminals: the caller is given the launch and its segment at every look.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from branchtrack import permissions
from branchtrack.config import Config
from branchtrack.core.lifecycle import LAUNCH_ENDS
from branchtrack.core.records import Launch, Segment
from branchtrack.db import segments
from branchtrack.db.orders import launches, withdrawals
from branchtrack.errors import LaunchFailed, StorageError
from branchtrack.launching.worker import POLL, RECOVER_EVERY, Worker

Watch = Callable[[Launch, Segment], None]
#: A shell that exits and leaves its command running, so that no process here stays its parent.
_DETACH = ("/bin/sh", "-c", '"$@" &', "branchtrack-detach")


def run_launch(worker: Worker, launch_id: str, watch: Watch) -> Launch:
    """Start a launch, or watch it if another worker was faster, and return it as it ended.

    ``watch`` is called at every look. If the other worker dies, this one takes over.
    """
    try:
        return _watch_launch(worker, launch_id, watch)
    finally:
        if not worker.children:
            worker.leave()


def _watch_launch(worker: Worker, launch_id: str, watch: Watch) -> Launch:
    looked = time.monotonic()
    while True:
        with _patiently(worker):
            worker.look()
            with worker.database.read() as connection:
                launch = launches.get(connection, launch_id)
                if withdrawals.is_withdrawn(connection, launch):
                    return launch
                segment = segments.get(connection, launch.segment_id)
                repeated = launches.repeated_by(connection, launch_id)
            watch(launch, segment)
            if launch.state in LAUNCH_ENDS:
                if repeated is None:
                    return launch
                launch_id = repeated.id
                continue
            if launch.state == "queued":
                worker.claim(launch_id)
            elif time.monotonic() - looked > RECOVER_EVERY:
                looked = time.monotonic()
                worker.recover(launch_id)
        time.sleep(POLL)


@contextmanager
def _patiently(worker: Worker) -> Iterator[None]:
    """Tolerate a database that fails while something trains, which goes on meanwhile."""
    try:
        yield
    except StorageError as error:
        if not worker.children:
            raise
        worker.say_once(f"{error} Trying again.")


def run_launches(worker: Worker, launch_ids: Sequence[str], watch: Watch) -> list[Launch]:
    """Carry out launches, as many at a time as the worker has slots, and return them as they ended.

    ``watch`` is called for each that has not ended, at every look. Those that another worker was
    faster to claim are watched; if it dies, this one takes over.
    """
    try:
        return _watch_launches(worker, launch_ids, watch)
    finally:
        if not worker.children:
            worker.leave()


def _watch_launches(worker: Worker, launch_ids: Sequence[str], watch: Watch) -> list[Launch]:
    looked = time.monotonic()
    ended: dict[str, Launch] = {}
    while True:
        with _patiently(worker):
            worker.look()
            for launch_id in launch_ids:
                if launch_id not in ended:
                    _carry_on(worker, launch_id, watch, ended)
            if len(ended) == len(launch_ids):
                return [ended[launch_id] for launch_id in launch_ids]
            if time.monotonic() - looked > RECOVER_EVERY:
                looked = time.monotonic()
                for launch_id in launch_ids:
                    worker.recover(launch_id)
        time.sleep(POLL)


def _carry_on(worker: Worker, launch_id: str, watch: Watch, ended: dict[str, Launch]) -> None:
    """Start a launch if there is room, show how far it is, or add it to those that have ended."""
    with worker.database.read() as connection:
        launch = launches.get(connection, launch_id)
        while (repeated := launches.repeated_by(connection, launch.id)) is not None:
            launch = repeated
        if withdrawals.is_withdrawn(connection, launch) or launch.state in LAUNCH_ENDS:
            ended[launch_id] = launch
        if withdrawals.is_withdrawn(connection, launch):
            return
        segment = segments.get(connection, launch.segment_id)
    if launch.state == "queued" and len(worker.children) < worker.slots:
        worker.claim(launch.id)
    watch(launch, segment)


def detach(config: Config, launch_id: str) -> None:
    """Hand a launch to a worker process of its own, which outlives this one.

    Raises:
        LaunchFailed: it cannot be started; the launch stays queued.
    """
    _start_worker(config, launch_id, ["--launch", launch_id])


def detach_queue(config: Config, launch_id: str, slots: int) -> None:
    """Start a worker process that outlives this one and ends when the queue is empty.

    ``launch_id`` is one of the launches in the queue; the log is named after it.

    Raises:
        LaunchFailed: it cannot be started; the launches stay queued.
    """
    _start_worker(config, launch_id, ["--once", "--slots", str(slots)])


def _start_worker(config: Config, launch_id: str, options: Sequence[str]) -> None:
    command = [sys.executable, "-m", "branchtrack", "worker", *options]
    config.make_home()
    try:
        # The configuration is passed in the environment: `ps` must not show a database's password.
        path, opener = config.logs / f"{launch_id}.worker.log", permissions.opener(config.home)
        with open(path, "ab", opener=opener) as log:
            subprocess.run(
                [*_DETACH, *command],
                env={**os.environ, **config.environment()},
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except (OSError, subprocess.CalledProcessError) as error:
        raise LaunchFailed(
            f"No worker can be started: {error}.",
            safe="The launch stays queued.",
            fix="`branchtrack worker` carries it out.",
            launch=launch_id,
            exit_code=None,
            log=None,
        ) from error

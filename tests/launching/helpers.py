"""What tests of launches share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, withdrawals
from branchtrack.db.tables import runs as run_table

ROOT = Path(__file__).parent.parent.parent
SCRIPT = Path(__file__).parent / "fake_training.py"


def environment(config: Config) -> dict[str, str]:
    """What a process needs to find this checkout and the test's home."""
    return {**os.environ, **config.environment(), "PYTHONPATH": str(ROOT)}


def train_fake(config: Config, *options: str, name: str = "fake") -> None:
    """Train a run of that name in a process of its own, to its end."""
    subprocess.run(
        [sys.executable, str(SCRIPT), name, *options],
        env=environment(config),
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
        cwd=config.home,
    )


def change_entry_point(database: Database, **changes: object) -> None:
    """Let the run ``fake`` have recorded something else of how it was started."""
    with database.transaction() as connection:
        run = runs.find_run(connection, "fake")
        changed = {**(run.entry_point or {}), **changes}
        connection.execute(run_table.update().values(entry_point=changed))


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that is to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def reread(database: Database, launch: Launch) -> Launch:
    with database.read() as connection:
        return launches.get(connection, launch.id)


def segment_status(database: Database, launch: Launch) -> str:
    with database.read() as connection:
        return segments.get(connection, launch.segment_id).status


def is_withdrawn(database: Database, launch: Launch) -> bool:
    """Whether nothing is left of a launch but its row."""
    with database.read() as connection:
        return withdrawals.is_withdrawn(connection, launch)


def fork_effective(database: Database, launch: Launch) -> Any:
    with database.read() as connection:
        return nodes.get(connection, launch.fork_node_id).effective


@contextmanager
def branchtrack(config: Config, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of branchtrack's in a process of its own, which the block outlives."""
    command = [sys.executable, "-m", "branchtrack", *arguments]
    with subprocess.Popen(
        command,
        env=environment(config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=config.home,
    ) as process:
        try:
            yield process
        finally:
            process.kill()

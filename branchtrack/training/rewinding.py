"""Going back in place: this process becomes one that trains from an earlier node.

The process starts its own script anew under the same pid, in the same terminal and job, as a worker
would start it for a resume: nothing of what was trained since can be left in its memory.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from typing import Any

from branchtrack import control, processes
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.actors import Actor
from branchtrack.core.records import Launch, Request
from branchtrack.db import launches, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, IllegalTransition

logger = logging.getLogger("branchtrack")

LAUNCH_VARIABLE = "BRANCHTRACK_LAUNCH"
#: Tells a process which request it goes on to answer.
REWIND_VARIABLE = "BRANCHTRACK_REWIND"


def order(database: Database, store: Store, request: Request) -> tuple[Launch, dict[str, Any]]:
    """Make the branch that a rewind goes on in, as this process's own; and what to answer.

    Every byte of the node is read first.

    Raises:
        NotFound, InvalidInput, NameTaken, CheckpointError, LaunchFailed, StorageError: it cannot
            be had; nothing was changed, and training goes on.
    """
    asked = request.requested
    launch = control.order_launch(
        database, store, asked["node"], actor=Actor(request.actor), name=asked.get("name"),
        settings=asked.get("values") or {}, reason=request.reason, worker=processes.own_name(),
    )  # fmt: skip
    with database.transaction() as connection:
        segments.hand_over(connection, launch.segment_id)
        launches.move(connection, launch.id, "running", request.actor, pid=os.getpid())
        branch = runs.get_branch(connection, launch.branch_id)
    return launch, {
        "branch": branch.name, "node": launch.fork_node_id, "launch": launch.id,
        "segment": launch.segment_id,
    }  # fmt: skip


def begun(database: Database, request_id: str, actor: str) -> None:
    """Answer a rewind whose new segment has begun."""
    with database.transaction() as connection, contextlib.suppress(IllegalTransition):
        requests.move(connection, request_id, "done", actor=actor)


def end(database: Database, launch_id: str, status: str, actor: str, error: str | None) -> None:
    """Record how a launch without a worker of its own has ended; its segment, if it never began."""
    with database.transaction() as connection, contextlib.suppress(IllegalTransition):
        launch = launches.get(connection, launch_id)
        segments.end(connection, launch.segment_id, "failed", actor=actor, error=error)
        state = "failed" if status == "failed" else "ended"
        launches.move(connection, launch_id, state, actor, error=error)


def give_up(database: Database, request_id: str, actor: str, why: str) -> None:
    """Answer a rewind that came to nothing."""
    with database.transaction() as connection, contextlib.suppress(IllegalTransition):
        requests.move(connection, request_id, "failed", actor=actor, error=why)


def become(
    entry_point: Mapping[str, Any], config: Config, launch: Launch, request: Request
) -> None:
    """Replace this process by the run's own command, told to carry out ``launch``.

    Returns only by raising.

    Raises:
        OSError: the command cannot be started.
    """
    argv = [str(word) for word in entry_point["argv"]]
    environment = {
        **os.environ, **entry_point.get("env", {}), **config.environment(),
        LAUNCH_VARIABLE: launch.id, REWIND_VARIABLE: request.id,
    }  # fmt: skip
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(OSError, ValueError):
            handler.flush()
    for child in multiprocessing.active_children():
        # Workers of data loaders: they would wait for ever for a parent that knows them no more.
        child.kill()
        child.join(1.0)
    os.chdir(entry_point.get("cwd") or ".")
    command = argv[0] if os.access(argv[0], os.X_OK) else sys.executable
    os.execve(command, [command, *argv[1:]], environment)


def report(error: BaseException) -> str:
    """Why a rewind came to nothing, in a line."""
    return str(error) if isinstance(error, BranchtrackError) else f"{type(error).__name__}: {error}"

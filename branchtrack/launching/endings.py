"""How a launch ended: what its process, its segment and its log say, recorded once.

Whatever is to follow an end, such as another attempt, begins at `record`. It must not know how a
process is watched.
"""

from __future__ import annotations

import signal
from pathlib import Path

from sqlalchemy import Connection

from branchtrack import control
from branchtrack.config import Config
from branchtrack.core import lifecycle
from branchtrack.core.builtin_settings import WORLD_SIZE
from branchtrack.core.records import Launch, Segment
from branchtrack.db import nodes, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue, withdrawals
from branchtrack.errors import IllegalTransition
from branchtrack.launching import local_process

_CLEAN = ("finished", "stopped", lifecycle.SUSPENDED)
_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
#: Exit codes, besides 0, of a process that answered a signal with a node. The signal itself ends it
#: if it comes again, from a scheduler and from a worker, while the interpreter ends.
_SIGNALLED = frozenset([*(128 + number for number in _ASKING), *(-number for number in _ASKING)])
_TRAINED_NOTHING = (
    "The script ended with exit code 0 and trained nothing with branchtrack: it never took up the "
    "branch that it was started for. Have it call branchtrack.start(...), or train() of a "
    "branchtrack.make_branching(Trainer), as the script that made the run did; then resume again."
)


def record(
    database: Database,
    config: Config,
    worker: str,
    launch: Launch,
    exit_code: int | None,
    why: str = "",
    *,
    requeue: bool = False,
) -> Launch:
    """Record the end of a launch's process once, and return the launch as it is then.

    ``why`` is the reason if it is known otherwise than from the process. With ``requeue`` the
    worker has ended it, so a launch that trained nothing goes back into the queue.
    """
    with database.transaction() as connection:
        if withdrawals.is_withdrawn(connection, launch):
            # Its process has recorded its own end already, or another worker has.
            return launches.get(connection, launch.id)
        segment = segments.get(connection, launch.segment_id)
        present = launches.get(connection, launch.id)
        try:
            if present.cancel is not None and segment.status != "finished":
                return _cancelled(connection, worker, present, segment, exit_code)
            was_ended = exit_code is None or exit_code < 0 or exit_code in _SIGNALLED
            if requeue and was_ended and segment.status == "waiting":
                return queue.put_back(connection, present, worker)
            return _ended(connection, config, worker, present, segment, exit_code, why)
        except IllegalTransition:
            return launches.get(connection, launch.id)


def _cancelled(
    connection: Connection,
    worker: str,
    launch: Launch,
    segment: Segment,
    exit_code: int | None,
) -> Launch:
    if segment.started_at is None:
        return queue.withdraw_cancelled(connection, launch, worker)
    why = f"Cancelled by {launch.cancel}."
    if segment.status not in _CLEAN:
        why += f" {local_process.ending(exit_code)} What followed the newest node is lost."
        segments.end(connection, launch.segment_id, "stopped", actor=worker, error=why)
        control.expire_unanswered(connection, launch.segment_id, worker, why)
    return launches.move(connection, launch.id, "cancelled", worker, exit_code=exit_code, error=why)


def _ended(
    connection: Connection,
    config: Config,
    worker: str,
    launch: Launch,
    segment: Segment,
    exit_code: int | None,
    why: str,
) -> Launch:
    well = exit_code in (0, None) or exit_code in _SIGNALLED
    well = well or _is_launcher_told(connection, launch, segment, exit_code)
    clean = segment.status in _CLEAN and well and not why
    error = None if clean else why or _why(config, launch, exit_code, segment)
    can_retry = error is not None and not _is_refused(config, launch, exit_code)
    if can_retry and segment.started_at is None:
        if (again := control.retry(connection, launch, segment)) is not None:
            return again
    if error is not None:
        segments.end(connection, launch.segment_id, "failed", actor=worker, error=error)
        control.expire_unanswered(connection, launch.segment_id, worker, error)
    state = "ended" if clean else "failed"
    launch = launches.move(connection, launch.id, state, worker, exit_code=exit_code, error=error)
    if launch.state == "failed" and segment.started_at is None:
        withdrawals.withdraw(connection, launch, worker)
    elif can_retry:
        control.retry(connection, launch, segment)
    return launch


def _is_launcher_told(
    connection: Connection, launch: Launch, segment: Segment, exit_code: int | None
) -> bool:
    """Return whether a launcher of several processes ended as it does after a signal, which they
    have answered: it has one exit code for all.
    """
    is_answered = segment.status in _CLEAN and (segment.error or "").startswith("SIG")
    fork = nodes.get(connection, launch.fork_node_id)
    return exit_code == 1 and is_answered and WORLD_SIZE.name in fork.settings


def _is_refused(config: Config, launch: Launch, exit_code: int | None) -> bool:
    """Return whether branchtrack refused the script, as it would again."""
    return bool(exit_code) and bool(local_process.refusal(_log(config, launch)))


def _log(config: Config, launch: Launch) -> Path:
    return Path(launch.log or local_process.log_path(config, launch.id))


def _why(config: Config, launch: Launch, exit_code: int | None, segment: Segment) -> str:
    log = _log(config, launch)
    if exit_code and (refusal := local_process.refusal(log)):
        return refusal
    error = segment.error
    if exit_code == 0 and not error and segment.started_at is None:
        return _TRAINED_NOTHING
    words = error or local_process.reason_in_log(log)
    if exit_code == 0 and not error:
        return "The process ended with exit code 0 and did not finish its branch."
    return f"{local_process.ending(exit_code)} {words}".strip()

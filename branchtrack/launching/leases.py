"""A worker's lease on its launches: it holds while the worker is heard of.

A worker that is known to be dead on this machine, or silent on another, has lost its lease, and any
other takes over what it left. Of several that do so at once, one succeeds (`db.orders.queue`). It
must not know how launches are started.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from dataclasses import dataclass

from branchtrack import processes
from branchtrack.config import Config
from branchtrack.core import lifecycle
from branchtrack.core.records import Launch, Segment, WorkerRow
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue, withdrawals, workers
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.launching import endings
from branchtrack.launching.children import Child

#: Seconds between two signs of life of a worker.
BEAT_EVERY = 2.0
#: Seconds of silence after which a worker whose process is seen to be gone has lost its launches:
#: one of a container with this machine's name may have processes of its own, so that a fresh sign
#: of life counts for more.
GONE_AFTER = 5.0
#: Seconds that a process on another machine has for the way to its first step.
_START = 600.0
#: Seconds after which a silent worker is forgotten.
_FORGET = 60.0


@dataclass
class Leases:
    """The leases of other workers, as the worker ``name`` sees them."""

    database: Database
    config: Config
    name: str

    def recover(self, own: Collection[str], only: str | None = None) -> list[Child]:
        """Take over what workers without a lease left, or the one launch named.

        A launch that had not begun goes back into the queue, one that still trains here is returned
        to be watched, and one whose process is gone is returned, or recorded if it was elsewhere.
        ``own`` are the launches that this worker watches already.
        """
        with self.database.read() as connection:
            unfinished = launches.unfinished(connection)
            heard_of = {row.name: row for row in workers.heard_of(connection)}
        adopted = []
        for launch in unfinished:
            if launch.state == "queued" or launch.id in own or not launch.worker:
                continue
            if launch.launcher is not None:
                # Its cluster knows what became of its worker, see `clusters`.
                continue
            if only is not None and launch.id != only:
                continue
            if self._is_without_lease(launch, heard_of.get(launch.worker)):
                child = self._take_over(launch)
                adopted += [child] if child is not None else []
        self._forget(heard_of.values())
        return adopted

    def _is_without_lease(self, launch: Launch, row: WorkerRow | None) -> bool:
        if launch.worker == self.name:
            # One without a child is one whose start the database did not record.
            return True
        gone = processes.is_gone_from_here(launch.worker or "")
        if gone is False:
            return False
        if row is None:
            return bool(gone) or time.time() - launch.updated_at > lifecycle.WORKER_SILENT_AFTER
        return time.time() - row.heartbeat_at > (
            GONE_AFTER if gone else lifecycle.WORKER_SILENT_AFTER
        )

    def _take_over(self, launch: Launch) -> Child | None:
        is_here = (launch.worker or "").startswith(f"{socket.gethostname()}:")
        with self.database.transaction() as connection:
            segment = None
            if launch.state == "running":
                if withdrawals.is_withdrawn(connection, launch):
                    return None
                segment = segments.get(connection, launch.segment_id)
                if not _may_be_judged(launch, segment, is_here):
                    return None
            if not queue.take_over(connection, launch, self.name):
                return None
            if launch.state == "starting":
                queue.put_back(connection, launch, self.name)
                return None
            launch = launches.get(connection, launch.id)
        if is_here:
            return Child(launch, launch.pid or 0)
        why = "" if segment is None or segment.ended_at else _silent(launch, segment)
        endings.record(self.database, self.config, self.name, launch, None, why)
        return None

    def _forget(self, rows: Collection[WorkerRow]) -> None:
        now = time.time()
        names = [
            row.name for row in rows if row.name != self.name and now - row.heartbeat_at > _FORGET
        ]
        if names:
            with self.database.transaction() as connection:
                for name in names:
                    workers.leave(connection, name)


def _may_be_judged(launch: Launch, segment: Segment, is_here: bool) -> bool:
    """Return whether it is known what became of a launch's process."""
    if is_here and processes.is_alive(launch.pid or 0, f"{LAUNCH_VARIABLE}={launch.id}"):
        return True
    # In a container of this machine's name it may train although it is not seen from here.
    if lifecycle.segment_status(segment, time.time()) in lifecycle.LIVE:
        return False
    is_starting = segment.status == "waiting" and not is_here
    return not is_starting or time.time() - launch.updated_at > _START


def _silent(launch: Launch, segment: Segment) -> str:
    host = segment.host or (launch.worker or "").partition(":")[0]
    return f"Its worker and its process on {host} have been silent; how they ended is not known."

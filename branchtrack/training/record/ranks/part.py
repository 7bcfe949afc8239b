"""The part that a rank other than the first has in each node; see `joint` for the whole.

It copies what the rank holds at once, and hashes and writes it in the background, as rank 0 asks
for it. It must not know the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from branchtrack import processes
from branchtrack.checkpoints import leftovers
from branchtrack.checkpoints.manifest import TensorBytes
from branchtrack.checkpoints.packs import Store
from branchtrack.errors import RankLost
from branchtrack.training.ranks.channel import Channel, Fits
from branchtrack.training.record import commits
from branchtrack.training.record.committer import Point
from branchtrack.training.record.jobs import JobQueue
from branchtrack.training.record.ranks import joint
from branchtrack.training.settings.live import Live
from branchtrack.training.state import shares
from branchtrack.training.state.buffers import Buffers, Forms
from branchtrack.training.state.snapshots import Snapshot

logger = logging.getLogger("branchtrack")


class PartCommitter:
    """Takes part in the commits of rank 0; ``database`` is the name that packs are marked with.

    One commit is in flight at a time, as there.
    """

    def __init__(self, channel: Channel, store: Store, jobs: JobQueue, database: str) -> None:
        self.number = 0
        self._channel, self._store, self._jobs = channel, store, jobs
        self._owner = leftovers.owner(processes.own_name(), database)
        self._buffers, self._prepared = Buffers(), False
        self._known: dict[tuple[str, int], str] = {}
        self._free = threading.Event()
        self._free.set()

    def prepare(self, live: Live) -> None:
        """Allocate the memory of snapshots in the background, once, after the first update."""
        if self._prepared:
            return
        self._prepared = True
        forms = Forms()
        try:
            shares.capture(live, {}, forms, self._channel.rank)
        except Exception:
            # The next commit hits the same error, and reports it.
            return
        done = self._free = threading.Event()

        def job() -> None:
            try:
                self._buffers.reserve(forms.found)
            finally:
                done.set()

        self._jobs.add(job)

    def refuse(self, why: str) -> None:
        """Take no part in the next commit, and say why: there is no node then."""
        self.number += 1
        key = f"commit/{self.number}/part/{self._channel.rank}"
        self._channel.post(key, {"error": why, "path": ""})

    def commit(self, point: Point) -> None:
        """Copy this rank's part of the state now; the rest happens in the background."""
        self.number += 1
        number = self.number
        # Rank 0 has recorded the commit before this one, or given it up.
        self._free.wait()
        try:
            snapshot = shares.capture(point.live, point.extra(), self._buffers, self._channel.rank)
        except Exception as error:
            # Rank 0 says in the record why there is no node.
            self._channel.post(
                f"commit/{number}/part/{self._channel.rank}", joint.error_to_json(error)
            )
            return
        done = self._free = threading.Event()
        writings = self._buffers.writings

        def job() -> None:
            try:
                self._carry_out(number, snapshot, writings)
            except RankLost as error:
                logger.debug("branchtrack: %s", error)
            finally:
                done.set()

        self._jobs.add(job)

    def _carry_out(self, number: int, snapshot: Snapshot, writings: dict[str, int]) -> None:
        channel, rank = self._channel, self._channel.rank
        manifest, tensors = commits.digests(snapshot, writings, self._known)
        self._known = {(e.name, writings[e.name]): e.digest for e in manifest.entries}
        part = joint.Part(manifest.entries, snapshot.layouts, snapshot.state)
        channel.post(f"commit/{number}/part/{rank}", part.to_json())
        carry_out_orders(channel, self._store, self._owner, f"commit/{number}", tensors)


def carry_out_orders(
    channel: Channel,
    store: Store,
    owner: Mapping[str, str],
    key: str,
    tensors: Mapping[str, TensorBytes],
) -> None:
    """Write what rank 0 orders of this rank's tensors, by digest, until it says that it is done.

    Raises:
        RankLost: rank 0 says nothing more.
    """
    answer, attempt = f"{key}/pack/{channel.rank}", 0
    order, done = f"{key}/write", f"{key}/done"
    while True:
        last, told = channel.wait_for_any([done, order], 0, fits=_after(attempt, done))
        if last == done:
            return channel.forget(answer)
        attempt = told[0]
        if wanted := told[1][str(channel.rank)]:
            channel.post(answer, [attempt, _written(store, owner, wanted, tensors)])


def _written(
    store: Store,
    owner: Mapping[str, str],
    wanted: Sequence[str],
    tensors: Mapping[str, TensorBytes],
) -> dict[str, Any]:
    """Write tensors, by digest, as a pack, and return the answer to rank 0."""
    try:
        fresh = [(digest, tensors[digest]) for digest in wanted]
        return joint.pack_to_json(store.put(fresh, owner))
    except Exception as error:
        return joint.error_to_json(error)


def _after(attempt: int, done: str) -> Fits:
    """Return what fits to wait for after an attempt: a later one, or that the commit is done."""
    return lambda key, message: key == done or message[0] > attempt

"""A state of several ranks, stored again after retention has thinned it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from branchtrack import processes
from branchtrack.checkpoints.manifest import TensorBytes
from branchtrack.checkpoints.packs import Store
from branchtrack.control import leftovers
from branchtrack.control.store import checkpoints
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.errors import RankLost
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.record import commits
from branchtrack.training.record.ranks import joint, part

_KEY = "rebuilt"


def restore(
    channel: Channel,
    database: Database,
    store: Store,
    digested: commits.Digested,
    held: joint.JointState,
    node: Node,
    actor: str,
) -> None:
    """Do as `commits.restore` with the other ranks, who take part; rank 0 calls it.

    Raises:
        StorageError: nothing was recorded, and trying again is safe. RankLost: a rank is gone.
    """
    manifest, own = digested
    owner, attempt = leftovers.pack_owner(database, store, processes.own_name()), 0
    is_recorded = False
    while not is_recorded:
        attempt += 1
        with database.read() as connection:
            absent = checkpoints.absent(connection, store, held.holders.keys())
        assigned = joint.order(channel, _KEY, attempt, held, absent)
        fresh = [(digest, own[digest]) for digest in assigned[0]]
        pack = store.put(fresh, owner) if fresh else None
        others = [
            joint.pack_of(channel, store, _KEY, attempt, rank)
            for rank in channel.others
            if assigned[rank]
        ]
        # A sweep may have removed tensors since they were looked up: they are written again.
        with suppress(checkpoints.Outdated), database.transaction() as connection:
            checkpoints.record(connection, store, manifest, held.holders.keys(), pack, others)
            thinning.log_rebuilt(connection, node, actor)
            is_recorded = True
    channel.post(f"{_KEY}/done", "recorded")


def take_part(
    channel: Channel, database: Database, store: Store, tensors: Mapping[str, TensorBytes]
) -> None:
    """Write what rank 0 orders of this rank's tensors; return once it has recorded the state."""
    owner = leftovers.pack_owner(database, store, processes.own_name())
    # Rank 0 exits as soon as it is done.
    with suppress(RankLost):
        part.carry_out_orders(channel, store, owner, _KEY, tensors)

"""Pins: nodes whose checkpoints stay whatever a policy says."""

from __future__ import annotations

from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.errors import CheckpointThinned


def set_pinned(database: Database, node_id: str, pinned: bool, actor: Actor | str) -> bool:
    """Pin or unpin a node; return whether that changed anything.

    Raises:
        NotFound, Forbidden, ReadOnlyHome: nothing was changed.
        CheckpointThinned: there is nothing to keep any more.
    """
    who = actors.of(actor)
    actors.check(who, "retain", ["pin"])
    with database.transaction() as connection:
        # A sweep must see either the pin, or that it was too late.
        thinning.share_store(connection)
        node = nodes.get(connection, node_id)
        thinned = nodes.thinned(connection, node.state_digest)
        if pinned and thinned is not None:
            raise CheckpointThinned(node.id, thinned)
        return thinning.set_pinned(connection, node, pinned, who.label)

"""What a branch has cost so far, from which the cost of training on from it is estimated; and what
is left of the node.

Only reads, and of the run nothing but this branch. It must not know what a page looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from branchtrack.core.records import Node
from branchtrack.db.tables import checkpoints, launches, nodes, segments

_starts = nodes.alias("starts")


@dataclass(frozen=True)
class Outlook:
    """What the processes of a branch have made: updates in how many seconds, and bytes on disk.

    ``max_steps`` is where the process that made the node meant to end, ``waiting`` the number of
    launches in the queue for workers, ``training`` of those that have a slot of one. ``thinned`` is
    what is left of the node's checkpoint: ``recipe`` or ``weights``; None for all.
    """

    steps: int
    seconds: float
    stored_bytes: int
    max_steps: int | None
    waiting: int
    training: int
    thinned: str | None = None


def read(connection: Connection, node: Node) -> Outlook:
    """Return what the branch of a node has cost so far, in one statement."""
    stored = (
        select(func.sum(checkpoints.c.stored_bytes))
        .where(
            checkpoints.c.digest.in_(
                select(nodes.c.state_digest).where(nodes.c.branch_id == node.branch_id)
            )
        )
        .scalar_subquery()
    )
    # Jobs of clusters take no slot of a worker.
    counted = select(func.count()).select_from(launches).where(launches.c.launcher.is_(None))
    waiting = counted.where(launches.c.state == "queued").scalar_subquery()
    training = counted.where(launches.c.state.in_(("starting", "running"))).scalar_subquery()
    left = select(checkpoints.c.thinned).where(checkpoints.c.digest == node.state_digest)
    query = (
        select(
            segments.c.id,
            segments.c.step,
            segments.c.max_steps,
            segments.c.started_at,
            func.coalesce(segments.c.ended_at, segments.c.heartbeat_at).label("last_at"),
            func.coalesce(_starts.c.step, 0).label("start"),
            stored.label("stored"),
            waiting.label("waiting"),
            training.label("training"),
            left.scalar_subquery().label("thinned"),
        )
        .outerjoin(_starts, _starts.c.id == segments.c.start_node_id)
        .where(segments.c.branch_id == node.branch_id)
    )
    rows = connection.execute(query).all()
    trained = [row for row in rows if row.started_at is not None and row.last_at is not None]
    return Outlook(
        steps=sum(max(0, row.step - row.start) for row in trained),
        seconds=sum(max(0.0, row.last_at - row.started_at) for row in trained),
        stored_bytes=int(rows[0].stored or 0) if rows else 0,
        max_steps=next((row.max_steps for row in rows if row.id == node.segment_id), None),
        waiting=rows[0].waiting if rows else 0,
        training=rows[0].training if rows else 0,
        thinned=rows[0].thinned if rows else None,
    )

"""What retention writes: policies, pins, what is left of checkpoints, and where tensors are.

A pack is removed in three steps, each of which may be the last of a killed process: its tensors
are forgotten, its file is deleted, its own row is forgotten. So a pack that the record names and
nothing is read from is one to be deleted.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, exists, func, select, text

from branchtrack.core.records import Node, Run, TensorLocation
from branchtrack.db import audit, seals
from branchtrack.db.engine import upsert
from branchtrack.db.storage import packs as pack_rows
from branchtrack.db.storage import references
from branchtrack.db.tables import checkpoints, nodes, packs, runs, tensors

#: The number of the lock of PostgreSQL that commits share and sweeps take for themselves.
_LOCK = 5_284_711
_CHUNK = 500


def share_store(connection: Connection) -> None:
    """Hold off sweeps until this transaction ends: it relies on tensors that are stored."""
    if connection.dialect.name != "sqlite":
        connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})"))


def lock_store(connection: Connection) -> None:
    """Hold off commits and other sweeps until this transaction ends.

    A transaction of SQLite holds off all others that write anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def set_policy(connection: Connection, run: Run, policy: dict[str, Any] | None, actor: str) -> None:
    """Record the policy by which a run is swept."""
    if run.retention == policy:
        return
    connection.execute(runs.update().where(runs.c.id == run.id).values(retention=policy))
    seals.renew(connection, runs, run.id)
    audit.append(
        connection,
        run.id,
        kind="run",
        ref=run.id,
        state="retention",
        actor=actor,
        payload={"before": run.retention, "after": policy},
    )


def set_pinned(connection: Connection, node: Node, pinned: bool, actor: str) -> bool:
    """Pin or unpin a node; return whether that changed anything."""
    if (node.pinned_at is not None) == pinned:
        return False
    value = time.time() if pinned else None
    connection.execute(nodes.update().where(nodes.c.id == node.id).values(pinned_at=value))
    seals.renew(connection, nodes, node.id)
    audit.append(
        connection,
        node.run_id,
        kind="pin",
        ref=node.id,
        state="pinned" if pinned else "unpinned",
        actor=actor,
        step=node.step,
    )
    return True


def mark(connection: Connection, left: Mapping[str, str]) -> None:
    """Record what is left of checkpoints: ``recipe`` or ``weights``, by digest."""
    ordered = sorted(left)
    for first in range(0, len(ordered), _CHUNK):
        chunk = ordered[first : first + _CHUNK]
        query = select(checkpoints.c.digest, checkpoints.c.manifest, checkpoints.c.stored_bytes)
        rows = [
            {
                "key": digest,
                "left": left[digest],
                "bytes": min(stored, _bytes_left(connection, manifest, left[digest])),
            }
            for digest, manifest, stored in connection.execute(
                query.where(checkpoints.c.digest.in_(chunk))
            ).all()
        ]
        for row in rows:
            connection.execute(
                checkpoints.update()
                .where(checkpoints.c.digest == row["key"])
                .values(thinned=row["left"], stored_bytes=row["bytes"])
            )
        _seal(connection, chunk)


def log_sweep(connection: Connection, run_id: str, actor: str, payload: dict[str, Any]) -> None:
    """Append the event of a sweep to the log of a run."""
    audit.append(
        connection, run_id, kind="run", ref=run_id, state="thinned", actor=actor, payload=payload
    )


def log_rebuilt(connection: Connection, node: Node, actor: str) -> None:
    """Append the event of a rebuild to the log of a node's run."""
    audit.append(
        connection,
        node.run_id,
        kind="run",
        ref=node.run_id,
        state="rebuilt",
        actor=actor,
        step=node.step,
        payload={"node": node.id, "digest": node.state_digest},
    )


def forget_tensors(connection: Connection, digests: Collection[str]) -> None:
    """Stop naming tensors; their packs stay named until their files are deleted."""
    ordered = sorted(digests)
    for first in range(0, len(ordered), _CHUNK):
        chunk = ordered[first : first + _CHUNK]
        connection.execute(tensors.delete().where(tensors.c.digest.in_(chunk)))


def forget_checkpoints(connection: Connection, digests: Sequence[str]) -> None:
    """Remove checkpoints that no node has."""
    for first in range(0, len(digests), _CHUNK):
        chunk = digests[first : first + _CHUNK]
        connection.execute(checkpoints.delete().where(checkpoints.c.digest.in_(chunk)))
    seals.remove(connection, checkpoints, digests)


def announce(connection: Connection, pack: tuple[str, int]) -> None:
    """Name a pack (id, bytes) before it is written: if it never holds anything, it is deleted."""
    values = {"id": pack[0], "nbytes": pack[1], "created_at": time.time()}
    connection.execute(upsert(connection, packs).values(**values).on_conflict_do_nothing())
    seals.renew(connection, packs, pack[0])


def in_pack(connection: Connection, pack: str) -> list[TensorLocation]:
    """Return the tensors that are read from a pack."""
    query = select(tensors).where(tensors.c.pack == pack).order_by(tensors.c.offset)
    return [
        TensorLocation(**{**row._mapping, "shape": tuple(row.shape)})
        for row in connection.execute(query)
    ]


def move(connection: Connection, locations: Sequence[TensorLocation]) -> None:
    """Record that tensors are read from other packs."""
    for location in locations:
        values = {"pack": location.pack, "name": location.name, "offset": location.offset}
        connection.execute(
            tensors.update().where(tensors.c.digest == location.digest).values(**values)
        )


def unread(connection: Connection) -> list[tuple[str, int]]:
    """Return the packs (id, bytes) to be deleted: those that nothing is read from."""
    is_read = exists().where(tensors.c.pack == packs.c.id)
    query = select(packs.c.id, packs.c.nbytes).where(~is_read).order_by(packs.c.id)
    return [(row[0], row[1]) for row in connection.execute(query)]


def forget_packs(connection: Connection, pack_ids: Collection[str]) -> None:
    """Stop naming packs whose files are deleted."""
    pack_rows.forget_unread(connection, pack_ids)


def _bytes_left(connection: Connection, manifest: bytes, left: str) -> int:
    if left == references.RECIPE:
        return 0
    entries = references.weights(json.loads(zlib.decompress(manifest)))
    digests = sorted({entry[3] for entry in entries})
    total = func.coalesce(func.sum(tensors.c.nbytes), 0)
    parts = (digests[first : first + _CHUNK] for first in range(0, len(digests), _CHUNK))
    queries = (select(total).where(tensors.c.digest.in_(part)) for part in parts)
    return sum(int(connection.execute(query).scalar_one()) for query in queries)


def _seal(connection: Connection, digests: Collection[str]) -> None:
    """Seal the rows of checkpoints as they are now."""
    for digest in digests:
        seals.renew(connection, checkpoints, digest)

"""The packs that the record names, their contents, and the processes that write them."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, exists, func, or_, select

from branchtrack.core.records import TensorLocation
from branchtrack.db import seals
from branchtrack.db.engine import upsert
from branchtrack.db.tables import checkpoints, packs, segments, tensors

#: SQLite takes 32,766 parameters in a statement; PostgreSQL takes 65,535.
_CHUNK = 2000


def add(
    connection: Connection,
    pack: tuple[str, int],
    locations: Sequence[TensorLocation],
    gone: Collection[str] = (),
) -> bool:
    """Record a pack (id, bytes) and its contents; return whether anything is read from it.

    A tensor that is recorded already stays where it is, unless that pack is one of ``gone``: their
    files no longer exist. A pack that nothing is read from is not named: another process has
    committed the same tensors first.
    """
    values = {"id": pack[0], "nbytes": pack[1], "created_at": time.time()}
    connection.execute(upsert(connection, packs).values(**values).on_conflict_do_nothing())
    # In one order everywhere: two processes that add the same tensors would else each wait for one
    # that the other has added.
    ordered = sorted(locations, key=lambda location: location.digest)
    rows = [{**asdict(location), "shape": list(location.shape)} for location in ordered]
    row = upsert(connection, tensors)
    if gone:
        lost = or_(*(tensors.c.pack == pack_id for pack_id in gone))
        moved = {name: row.excluded[name] for name in ("pack", "name", "offset")}
        row = row.on_conflict_do_update(index_elements=["digest"], set_=moved, where=lost)
    else:
        row = row.on_conflict_do_nothing()
    connection.execute(row, rows)
    forget_unread(connection, [pack[0], *gone])
    is_named = bool(connection.execute(select(exists().where(packs.c.id == pack[0]))).scalar())
    if is_named:
        seals.renew(connection, packs, pack[0])
    return is_named


def forget_unread(connection: Connection, pack_ids: Collection[str]) -> None:
    """Stop naming those of the packs that no tensor is read from."""
    is_read = exists().where(tensors.c.pack == packs.c.id)
    for pack_id in pack_ids:
        deleted = packs.delete().where(packs.c.id == pack_id, ~is_read)
        if connection.execute(deleted).rowcount:
            seals.renew(connection, packs, pack_id)


def broken_tensors(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield the (digest, what is wrong) of what only the record says of tensors.

    Headers hold the rest. Verifying a node says whether its tensors are where the record says.
    """
    named: set[str] = set()
    is_known = True
    for blob in connection.execute(select(checkpoints.c.manifest)).scalars():
        try:
            listed = json.loads(zlib.decompress(blob))["tensors"]
            named.update(digest for _name, _dtype, _shape, digest in listed)
        except (zlib.error, ValueError, TypeError, LookupError):
            # The checkpoint itself is reported as broken.
            is_known = False
    for row in seals.raw(connection, tensors):
        if is_known and row["digest"] not in named:
            yield row["digest"], "belongs to no checkpoint"
        if json.dumps(json.loads(row["shape"]), separators=(",", ":")) != row["shape"]:
            yield row["digest"], "has a shape that is not as it was written"


def ids(connection: Connection) -> set[str]:
    """Return the ids of all packs that hold a checkpoint."""
    return set(connection.execute(select(tensors.c.pack).distinct()).scalars())


def heartbeats(connection: Connection) -> dict[str, float]:
    """Return the last sign of life of each process that trained, by name; seconds since 1970."""
    last = func.max(segments.c.heartbeat_at)
    query = select(segments.c.process, last).where(segments.c.process.is_not(None))
    return {name: time or 0.0 for name, time in connection.execute(query.group_by("process"))}


def locate(connection: Connection, digests: Collection[str]) -> dict[str, TensorLocation]:
    """Return where the tensors of these digests are, by digest; those not recorded are left out."""
    ordered, locations = sorted(digests), {}
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        for row in connection.execute(select(tensors).where(tensors.c.digest.in_(chunk))):
            values = {**row._mapping, "shape": tuple(row.shape)}
            locations[row.digest] = TensorLocation(**values)
    return locations

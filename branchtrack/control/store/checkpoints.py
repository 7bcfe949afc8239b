"""Recording checkpoints whose packs are stored, beside sweeps that remove what nothing needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import Manifest
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.db import nodes
from branchtrack.db.storage import thinning
from branchtrack.errors import CheckpointError


class Outdated(Exception):
    """What a snapshot shares with earlier ones has been removed since it was looked up."""


def absent(connection: Connection, store: Store, digests: Collection[str]) -> set[str]:
    """Return those of some digests whose tensor the store lacks.

    A tensor whose pack is gone (its folder was removed) counts among them: no node may name bytes
    that are not there.
    """
    packs = nodes.packs_of(connection, digests)
    there = {pack for pack in set(packs.values()) if store.exists(pack)}
    return {digest for digest in digests if packs.get(digest) not in there}


def record(
    connection: Connection,
    store: Store,
    manifest: Manifest,
    digests: Collection[str],
    pack: Pack | None,
    others: Sequence[Pack] = (),
    *,
    left: str | None = None,
) -> bool:
    """Record a checkpoint, and hold off sweeps until the transaction ends.

    ``digests`` are those of its tensors, ``pack`` holds all that were `absent`; ``others`` are the
    packs of other ranks, ``left`` as for `nodes.add_checkpoint`.

    Returns:
        whether ``pack`` is named: it is not if another process has committed the same tensors
        meanwhile, or if the state is stored in other pieces, and is then to be discarded.

    Raises:
        Outdated: a sweep has removed tensors that were not `absent` before; nothing was recorded.
    """
    packs = [*([pack] if pack else ()), *others]
    written = {location.digest for each in packs for location in each.locations}
    thinning.share_store(connection)
    if _is_stored_otherwise(connection, store, manifest.digest, digests):
        return False
    recorded = nodes.packs_of(connection, digests)
    is_complete = set(digests) <= written | recorded.keys()
    if not is_complete or not all(store.exists(each.id) for each in packs):
        raise Outdated
    replaced = {name for digest, name in recorded.items() if digest in written}
    return nodes.add_checkpoint(
        connection,
        manifest.digest,
        manifest.to_json(),
        tensor_count=len(manifest.entries),
        logical_bytes=manifest.logical_bytes,
        pack=(pack.id, pack.nbytes) if pack else None,
        locations=pack.locations if pack else (),
        others=others,
        gone=[name for name in replaced if not store.exists(name)],
        left=left,
    )


def _is_stored_otherwise(
    connection: Connection, store: Store, digest: str, digests: Collection[str]
) -> bool:
    """Return whether a state is there whole, as other tensors than those given.

    One number of ranks holds it in other pieces than another.
    """
    try:
        stored = nodes.checkpoint(connection, digest).locations.keys()
    except CheckpointError:
        return False
    return stored != set(digests) and not absent(connection, store, stored)

"""The steps of a commit: hash a snapshot, write what is new as a pack, then one transaction.

They run in the recorder's thread. Nothing is visible before all of it is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from sqlalchemy import Connection

from branchtrack import processes
from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.checkpoints.sharded import ShardedTensor
from branchtrack.checkpoints.tensors import dtype_of, from_bytes, to_bytes
from branchtrack.control import leftovers
from branchtrack.control.store import checkpoints
from branchtrack.core.records import NewNode, Node, StoredCheckpoint, TensorLocation
from branchtrack.db import nodes, requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.errors import IllegalTransition
from branchtrack.training.state import shares
from branchtrack.training.state.pieces import StoredPieces
from branchtrack.training.state.snapshots import Snapshot
from branchtrack.training.steer.answers import Answer

logger = logging.getLogger("branchtrack")

Result = TypeVar("Result")


Digested = tuple[Manifest, dict[str, TensorBytes]]


def missing(database: Database, store: Store, digested: Digested) -> list[tuple[str, TensorBytes]]:
    """Return the tensors of a snapshot, by digest, that the store lacks, for one pack of them.

    A tensor whose pack is gone (its folder was removed) counts among them: no node may name bytes
    that are not there.

    Raises:
        StorageError: the database failed.
    """
    _, tensors = digested
    with database.read() as connection:
        absent = checkpoints.absent(connection, store, tensors.keys())
    return [(digest, content) for digest, content in tensors.items() if digest in absent]


def record(
    database: Database,
    store: Store,
    digested: Digested,
    pack: Pack | None,
    new: NewNode,
    answers: Sequence[Answer],
    actor: str,
    saves: dict[str, Any] | None = None,
    others: Sequence[Pack] = (),
) -> tuple[Node, bool]:
    """Add the node of a snapshot that is stored, answering the requests it carries.

    Returns the node, and whether ``pack`` is named: it is not if another process has committed the
    same tensors meanwhile.

    ``digested`` is the result of `digests` for the snapshot, ``pack`` holds all of it that was
    `missing`; ``new`` lacks only the state digest. ``saves`` are the counts of its segment that
    are true with it: a process that is killed has no other time to write them. ``others`` are the
    packs of other ranks. One transaction.

    Raises:
        StorageError: the database failed; no node was created, and trying again is safe.
        Outdated: a sweep has removed tensors that were not `missing` before; nothing was recorded.
    """
    with database.transaction() as connection:
        node, is_named = add(connection, store, digested, pack, new, others)
        for answer in answers:
            move_request(connection, answer, actor, step=new.step, node_id=node.id)
        segments.count_saves(connection, new.segment_id, saves)
    return node, is_named


def add(
    connection: Connection,
    store: Store,
    digested: Digested,
    pack: Pack | None,
    new: NewNode,
    others: Sequence[Pack] = (),
) -> tuple[Node, bool]:
    """Do as `record` in a transaction of the caller's, who discards a pack that is not named.

    Raises:
        Outdated: as `record`.
    """
    manifest, tensors = digested
    is_named = checkpoints.record(connection, store, manifest, tensors.keys(), pack, others)
    return nodes.commit(connection, replace(new, state_digest=manifest.digest)), is_named


def restore(database: Database, store: Store, digested: Digested, node: Node, actor: str) -> None:
    """Store the state of a node again whose checkpoint was thinned; one pack, one transaction.

    Raises:
        StorageError: nothing was recorded, and trying again is safe.
    """
    store_with(
        database,
        store,
        digested,
        lambda connection: thinning.log_rebuilt(connection, node, actor),
    )


def store_with(
    database: Database,
    store: Store,
    digested: Digested,
    write: Callable[[Connection], Result],
    *,
    left: str | None = None,
) -> Result:
    """Store a state, and call ``write`` in the transaction that records it; return its result.

    ``left`` as for `nodes.add_checkpoint`.

    Raises:
        StorageError: nothing was recorded, and trying again is safe.
    """
    manifest, tensors = digested
    owner = leftovers.pack_owner(database, store, processes.own_name())
    while True:
        fresh = missing(database, store, digested)
        pack = store.put(fresh, owner) if fresh else None
        try:
            with database.transaction() as connection:
                checkpoints.record(connection, store, manifest, tensors.keys(), pack, left=left)
                return write(connection)
        except checkpoints.Outdated:
            # A sweep has removed tensors since they were looked up: they are written again.
            if pack is not None:
                store.discard(pack.id)


def move_request(connection: Connection, answer: Answer, actor: str, **facts: Any) -> None:
    """Move a request to its answer's state, through ``applied`` if it was carried out.

    A request that has ended meanwhile, by being cancelled for instance, stays as it is.
    """
    carried_out = answer.state in ("applied", "done")
    facts |= {"before": answer.before, "error": answer.error}
    facts |= {"applied": answer.applied} if carried_out or answer.state == "superseded" else {}
    facts |= {"result": answer.result} if answer.result is not None else {}
    try:
        first = "applied" if carried_out else answer.state
        facts["run_id"] = answer.request.run_id
        requests.move(connection, answer.request.id, first, actor=actor, **facts)
        if answer.state == "done":
            run_id = answer.request.run_id
            requests.move(connection, answer.request.id, "done", actor=actor, run_id=run_id)
    except IllegalTransition as error:
        logger.warning("branchtrack did not answer request %s: %s", answer.request.id, error)


def digests(
    snapshot: Snapshot,
    writings: Mapping[str, int] | None = None,
    cached_digests: Mapping[tuple[str, int], str] | None = None,
) -> Digested:
    """Return a snapshot's manifest, and its tensors by digest.

    ``writings`` are those of the buffers that hold the snapshot (see `buffers.Buffers`).
    ``cached_digests``, by name and writing, are not computed again.
    """
    writings, cached_digests = writings or {}, cached_digests or {}
    entries: list[Entry] = []
    tensors: dict[str, TensorBytes] = {}
    seen: dict[tuple[int, str, tuple[int, ...]], str] = {}
    for name, tensor in snapshot.tensors.items():
        content = to_bytes(name, tensor)
        key = (tensor.data_ptr(), content.dtype, content.shape)
        digest = cached_digests.get((name, writings.get(name, 0)))
        if digest is None and tensor.numel():
            digest = seen.get(key)
        if digest is None:
            digest = tensor_digest(content.dtype, content.shape, content.data)
        seen[key] = digest
        entries.append(Entry(name, content.dtype, content.shape, digest))
        tensors.setdefault(digest, content)
    return Manifest(tuple(entries), snapshot.state), tensors


def load(store: Store, stored: StoredCheckpoint, node: Node, rank: int = 0) -> Snapshot:
    """Read a node's state back as a rank resumes it, every digest checked.

    What ranks hold in pieces is read as far as it is needed, when the model is known.

    Raises:
        CheckpointMissing, CheckpointDamaged: its bytes are missing or damaged.
    """
    manifest = Manifest.from_json(stored.manifest)
    pieces_of = {name for t in manifest.sharded for name, _, _ in t.pieces()}
    tensors: dict[str, Any] = {}
    for entry in manifest.entries:
        if entry.name not in pieces_of and not shares.is_of_another(entry.name, rank):
            data = store.read(stored.locations[entry.digest])
            tensors[entry.name] = from_bytes(entry.dtype, entry.shape, data)
    digests = {entry.name: entry.digest for entry in manifest.entries}
    for tensor in manifest.sharded:
        reader = PieceReader(store, stored.locations, tensor, digests)
        tensors[tensor.name] = StoredPieces(dtype_of(tensor.dtype), tensor.shape, reader.rows)
    whole = Snapshot(tensors, manifest.state, node.param_groups)
    return shares.of_rank(whole, rank)


class PieceReader:
    """The rows of a sharded tensor in the store; ``digests`` are those of stored tensors."""

    def __init__(
        self,
        store: Store,
        locations: Mapping[str, TensorLocation],
        tensor: ShardedTensor,
        digests: Mapping[str, str],
    ) -> None:
        self._store, self._tensor = store, tensor
        self._pieces = [
            (locations[digests[name]], start, end) for name, start, end in tensor.pieces()
        ]

    def rows(self, first: int, end: int) -> torch.Tensor:
        """Return the rows from ``first`` to ``end``; only the pieces that have some are read.

        Raises:
            CheckpointMissing, CheckpointDamaged: a piece is missing or damaged.
        """
        dtype, tail = self._tensor.dtype, self._tensor.shape[1:]
        parts = []
        for location, start, stop in self._pieces:
            if start < end and stop > first:
                piece = from_bytes(dtype, location.shape, self._store.read(location))
                parts.append(piece[max(first - start, 0) : end - start])
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts) if parts else torch.empty((0, *tail), dtype=dtype_of(dtype))

"""One commit: hash a snapshot, write what is new as a pack, then one transaction.

Runs in the recorder's thread. Nothing is visible before all of it is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.tensors import from_bytes, to_bytes
from branchtrack.core.records import NewNode, Node, StoredCheckpoint
from branchtrack.db import nodes, requests
from branchtrack.db.engine import Database
from branchtrack.errors import IllegalTransition
from branchtrack.training.answers import Answer
from branchtrack.training.capture import Snapshot

logger = logging.getLogger("branchtrack")

Digested = tuple[Manifest, dict[str, TensorBytes]]


def commit(
    database: Database,
    store: Store,
    digested: Digested,
    new: NewNode,
    answers: Sequence[Answer],
    actor: str,
) -> Node:
    """Make a snapshot durable and add its node, answering the requests it carries.

    ``digested`` is what `digests` made of the snapshot; ``new`` lacks only the state digest.

    Raises:
        StorageError: the disk or the database failed; there is no node, and trying again is safe.
    """
    manifest, tensors = digested
    with database.read() as connection:
        known = nodes.known_digests(connection, tensors)
    fresh = [(digest, tensor) for digest, tensor in tensors.items() if digest not in known]
    pack = store.put(fresh, {}) if fresh else None
    with database.transaction() as connection:
        nodes.add_checkpoint(
            connection, manifest.digest, manifest.to_json(),
            tensor_count=len(manifest.entries), logical_bytes=manifest.logical_bytes,
            pack=(pack.id, pack.nbytes) if pack else None,
            locations=pack.locations if pack else (),
        )  # fmt: skip
        node = nodes.commit(connection, replace(new, state_digest=manifest.digest))
        for answer in answers:
            tell(connection, answer, actor, step=new.step, node_id=node.id)
    return node


def tell(connection: Connection, answer: Answer, actor: str, **facts: Any) -> None:
    """Move a request to where its answer says, through ``applied`` where it was carried out.

    One that somebody else has ended meanwhile, by cancelling it for instance, stays as it is.
    """
    carried_out = answer.state in ("applied", "done")
    facts |= {"before": answer.before, "error": answer.error}
    facts |= {"applied": answer.applied} if carried_out else {}
    try:
        first = "applied" if carried_out else answer.state
        requests.move(connection, answer.request.id, first, actor=actor, **facts)
        if answer.state == "done":
            requests.move(connection, answer.request.id, "done", actor=actor, result=answer.result)
    except IllegalTransition as error:
        logger.warning("branchtrack did not answer request %s: %s", answer.request.id, error)


def digests(snapshot: Snapshot) -> Digested:
    """A snapshot's manifest, and its tensors by digest."""
    entries: list[Entry] = []
    tensors: dict[str, TensorBytes] = {}
    seen: dict[tuple[int, str, tuple[int, ...]], str] = {}
    for name, tensor in snapshot.tensors.items():
        content = to_bytes(name, tensor)
        key = (tensor.data_ptr(), content.dtype, content.shape)
        digest = seen.get(key) if tensor.numel() else None
        if digest is None:
            digest = tensor_digest(content.dtype, content.shape, content.data)
            seen[key] = digest
        entries.append(Entry(name, content.dtype, content.shape, digest))
        tensors.setdefault(digest, content)
    return Manifest(tuple(entries), snapshot.state), tensors


def load(store: Store, stored: StoredCheckpoint, node: Node) -> Snapshot:
    """Read a node's state back, every digest checked.

    Raises:
        CheckpointMissing, CheckpointDamaged: its bytes are not whole.
    """
    manifest = Manifest.from_json(stored.manifest)
    tensors = {}
    for entry in manifest.entries:
        data = store.read(stored.locations[entry.digest])
        tensors[entry.name] = from_bytes(entry.dtype, entry.shape, data)
    return Snapshot(tensors, manifest.state, node.param_groups)

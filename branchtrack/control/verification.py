"""Whether a node is as it was written: its record, and all bytes of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db import integrity, nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage.outlines import checkpoint_outline
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointMissing,
    RecordChanged,
)


def verify_node(
    database: Database,
    store: Store,
    node: Node,
    progress: Callable[[int, int], None] | None = None,
    need: str = "all",
) -> Manifest:
    """Check the record of a node, then its state; see `verify_record` and `verify_state`.

    Raises:
        RecordChanged, CheckpointMissing, CheckpointDamaged, CheckpointThinned.
    """
    verify_record(database, node)
    return verify_state(database, store, node, progress, need)


def node_verdict(
    database: Database, store: Store, node_id: str, states: dict[str, str | None] | None = None
) -> dict[str, Any]:
    """Return whether a node is as it was written: ``kind node step state_digest thinned whole`` and
    ``problem``, what is not, or None.

    Of a node that was thinned, what is left is read. ``states`` has the problems of states that
    were read already, by digest, and gets this one's: several nodes may share one.
    """
    verdict: dict[str, Any] = {"kind": "node", "node": node_id, "step": None, "state_digest": None}
    known = {} if states is None else states
    verdict["thinned"] = None
    problem: str | None
    try:
        with database.read() as connection:
            node = nodes.get(connection, node_id)
            thinned = nodes.thinned(connection, node.state_digest)
            if thinned is not None and nodes.is_merged(connection, node.state_digest):
                # It has never had more.
                thinned = None
        verdict |= {"step": node.step, "state_digest": node.state_digest, "thinned": thinned}
        verify_record(database, node)
        if node.state_digest not in known:
            known[node.state_digest] = _state_problem(database, store, node)
        problem = known[node.state_digest]
    except CheckpointError as error:
        problem = error.what
    except integrity.UNREADABLE as error:
        problem = f"The record of node {node_id} cannot be read: {error}"
    whole = problem is None and verdict["thinned"] is None
    return {**verdict, "whole": whole, "problem": problem}


def _state_problem(database: Database, store: Store, node: Node) -> str | None:
    try:
        verify_state(database, store, node, need="record")
    except CheckpointError as error:
        return error.what
    return None


def verify_record(database: Database, node: Node) -> None:
    """Compare the record of a node with what was written.

    Raises:
        RecordChanged: the record has changed since.
    """
    with database.read() as connection:
        _check_record(connection, node)


def _check_record(connection: Connection, node: Node) -> None:
    problem = integrity.of_node(connection, node.id)
    if problem is not None:
        raise RecordChanged(
            f"The record of {problem}.",
            safe="Nothing was changed; other nodes are untouched.",
            fix="Continue from another node, or restore the database from a copy; "
            "`branchtrack verify --all` lists what else was changed.",
            node=node.id,
        )


def verify_state(
    database: Database,
    store: Store,
    node: Node,
    progress: Callable[[int, int], None] | None = None,
    need: str = "all",
) -> Manifest:
    """Read every byte of a node's checkpoint, compare the digests, and return its manifest.

    ``progress`` is called with the bytes done and the bytes in all. ``need`` is what is read, and
    what the manifest lists: ``all``, the ``weights`` if no more is left, or the ``record`` with
    whatever is left.

    Raises:
        CheckpointMissing, CheckpointDamaged: with the file and the tensor.
        CheckpointThinned: less is left than is needed.
    """
    with database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest, need=need)
    manifest = Manifest.from_json(stored.manifest)
    is_part = stored.thinned is not None and need == "weights"
    if not is_part and manifest.digest != node.state_digest:
        raise CheckpointDamaged(
            f"The manifest of node {node.id} does not have the node's state digest.",
            safe="Other nodes are untouched.",
            fix="Resume from another node.",
            node=node.id,
            path="database",
            tensor="",
        )
    for problem in store.verify(stored.locations.values(), progress):
        kind = CheckpointDamaged if store.exists(problem.location.pack) else CheckpointMissing
        raise _unusable(kind, node, problem.what, problem.path, problem.location.name)
    return manifest


def verify_outline(
    database: Database, store: Store, node: Node, need: str = "all", *, rebuild: bool = False
) -> list[str]:
    """Check all of a node but the content of its tensors, and return their names.

    That is its record, that of its checkpoint, and that each of its packs exists, is as long as it
    was and has the header that was written. Its cost does not depend on the size of the model:
    whoever loads the tensors reads and checks every byte then. With ``rebuild`` a node of which
    the recipe is left passes: it is trained again first.

    Raises:
        RecordChanged, CheckpointMissing, CheckpointDamaged, CheckpointThinned.
    """
    with database.read() as connection:
        _check_record(connection, node)
        outline = checkpoint_outline(connection, node.state_digest, need, rebuild=rebuild)
    for pack, nbytes in outline.packs.items():
        try:
            store.check_pack(pack, nbytes)
        except CheckpointError as error:
            raise _unusable(type(error), node, error.what, store.describe(pack), "") from error
    return outline.names


def _unusable(
    kind: type[CheckpointError], node: Node, what: str, path: str, tensor: str
) -> CheckpointError:
    """Return the error of a node whose bytes are not whole."""
    return kind(
        f"Node {node.id} cannot be restored: {what}",
        safe="Nothing was changed; nodes that share no bytes with it are untouched.",
        fix="Resume from another node; `branchtrack verify --all` lists which are whole.",
        node=node.id,
        path=path,
        tensor=tensor,
    )

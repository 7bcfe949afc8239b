"""Trees whose checkpoints share tensors, and have optimizers to lose."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.names import new_id
from branchtrack.core.records import Certificate, NewNode, Node
from branchtrack.db import certificates, nodes
from branchtrack.db.engine import Database
from tests.trees_for_tests import SETTINGS, Tree

#: Bytes of each tensor.
NBYTES = 4096


def tensor(name: str, value: int) -> tuple[str, TensorBytes]:
    """A tensor of `NBYTES` that depends on its name and a value, with its digest."""
    seed = sum(name.encode())
    data = np.full(NBYTES // 4, 1000 * value + seed, "<f4")
    content = TensorBytes(name, "F32", (NBYTES // 4,), memoryview(data.tobytes()))
    return tensor_digest("F32", content.shape, content.data), content


def add_checkpoint(
    database: Database, store: Store, tensors: Mapping[str, int], owner: Mapping[str, str]
) -> str:
    """A checkpoint of tensors by name and value, stored as a commit stores it."""
    contents = {name: tensor(name, value) for name, value in tensors.items()}
    entries = [Entry(n, c.dtype, c.shape, digest) for n, (digest, c) in contents.items()]
    manifest = Manifest(tuple(entries), {"at": sorted(tensors.values())})
    with database.read() as connection:
        recorded = nodes.packs_of(connection, [entry.digest for entry in entries])
    new = [(digest, c) for digest, c in contents.values() if digest not in recorded]
    pack = store.put(new, owner) if new else None
    with database.transaction() as connection:
        nodes.add_checkpoint(
            connection,
            manifest.digest,
            manifest.to_json(),
            tensor_count=len(entries),
            logical_bytes=manifest.logical_bytes,
            pack=(pack.id, pack.nbytes) if pack else None,
            locations=pack.locations if pack else (),
        )
    return manifest.digest


def commit(
    tree: Tree,
    branch: str,
    step: int,
    parent: Node | None = None,
    kind: str = "checkpoint",
    **how: Any,
) -> Node:
    """A node with a frozen tensor that all share, a weight and an optimizer of its step."""
    value = 100 * sorted(tree.branches).index(branch) + step
    tensors = how.pop("tensors", None) or {
        "model/frozen": 1,
        "model/weight": value,
        "optimizer/weight": value,
    }
    owner = how.pop("owner", {})
    digest = (
        parent.state_digest
        if kind == "fork" and parent
        else add_checkpoint(tree.database, tree.store, tensors, owner)
    )
    segment = tree.segment(branch)
    with tree.database.transaction() as connection:
        new = NewNode(
            run_id=tree.run.id,
            branch_id=tree.branches[branch].id,
            segment_id=segment.id,
            parent_id=parent.id if parent else None,
            step=step,
            epoch=0.0,
            kind=kind,
            state_digest=digest,
            settings=SETTINGS,
            param_groups=[{"lr": 0.01}],
            **how,
        )
        return nodes.commit(connection, new)


def chain(tree: Tree, branch: str = "main", count: int = 5, **how: Any) -> list[Node]:
    """Nodes ten steps apart, the first a root."""
    line: list[Node] = []
    for number in range(count):
        kind = "checkpoint" if line else "root"
        line.append(commit(tree, branch, 10 * number, line[-1] if line else None, kind, **how))
    return line


def certify(
    database: Database,
    start: Node,
    target: Node,
    *,
    exact: bool = True,
    untested: tuple[str, ...] = (),
) -> None:
    """A certificate that training between two nodes gives equal bits, or does not."""
    difference = {"name": "w", "kind": "tensor", "expected": 1, "found": 2}
    certificate = Certificate(
        id=new_id(),
        run_id=target.run_id,
        branch_id=target.branch_id,
        from_node_id=start.id,
        to_node_id=target.id,
        digest=target.state_digest,
        difference=None if exact else difference,
        untested=list(untested),
        environment={},
        actor="test",
        created_at=time.time(),
    )
    with database.transaction() as connection:
        certificates.add(connection, certificate, target.step)

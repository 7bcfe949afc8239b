"""Small trees with real checkpoints, made through the same functions that a training uses."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.builtin_settings import BUILT_IN
from branchtrack.core.records import Branch, Change, NewNode, Node, Run, Segment
from branchtrack.db import metrics, nodes, runs, segments
from branchtrack.db.engine import Database
from tests import tree_copies
from tests.tree_copies import Copy

SETTINGS = {"lr": 0.01, "weight_decay": 0.0, "max_grad_norm": 1.0}
DECLARED = [setting.as_dict() for setting in BUILT_IN]
ENTRY_POINT = {"argv": ["/no/such/python", "-c", "raise SystemExit(0)"], "cwd": "/", "env": {}}


@dataclass
class Tree:
    """A run to which branches, nodes and points are added by name."""

    database: Database
    store: Store
    run: Run
    branches: dict[str, Branch] = field(default_factory=dict)

    def branch(self, name: str, at: Node | None = None, *, train: bool = True) -> Branch:
        """A branch, started at a node; a process of this test trains it unless told not to."""
        with self.database.transaction() as connection:
            made = runs.create_branch(connection, self.run.id, name, at.id if at else None)
            segment = segments.create(
                connection, self.run.id, made.id, at.id if at else None, at.step if at else 0
            )
            if train:
                segments.take(
                    connection,
                    segment.id,
                    actor="test",
                    declared=DECLARED,
                    settings=SETTINGS,
                    max_steps=1000,
                )
            self.branches[name] = runs.get_branch(connection, made.id)
        return self.branches[name]

    def segment(self, name: str) -> Segment:
        """The current segment of a branch."""
        with self.database.read() as connection:
            branch = runs.get_branch(connection, self.branches[name].id)
            return segments.get(connection, branch.segment_id or "")

    def node(
        self,
        branch: str,
        step: int,
        parent: Node | None = None,
        *,
        kind: str = "checkpoint",
        changes: tuple[Change, ...] = (),
        values: dict[str, float | None] | None = None,
        settings: dict[str, Any] | None = None,
        message: str = "",
        state: int | None = None,
    ) -> Node:
        """A node whose checkpoint is one small tensor with the step in it, or another ``state``."""
        digest = add_checkpoint(self.database, self.store, step if state is None else state)
        planned = replace(
            self.planned(branch, step, parent, digest),
            kind=kind,
            settings={**SETTINGS, **(settings or {})},
            changes=changes,
            metrics=values or {},
            message=message,
        )
        with self.database.transaction() as connection:
            return nodes.commit(connection, planned)

    def planned(self, branch: str, step: int, parent: Node | None, digest: str) -> NewNode:
        """A plain checkpoint with the state of that digest, not committed yet."""
        return NewNode(
            run_id=self.run.id,
            branch_id=self.branches[branch].id,
            segment_id=self.segment(branch).id,
            parent_id=parent.id if parent else None,
            step=step,
            epoch=step / 100,
            kind="checkpoint",
            state_digest=digest,
            settings=dict(SETTINGS),
            param_groups=[{"lr": 0.01}],
            actor="test",
            environment={"python": "3.11"},
        )

    def points(self, branch: str, metric: str, steps: range, values: Any = None) -> None:
        """Points of a metric; the value is the step unless ``values`` says otherwise."""
        segment = self.segment(branch).id
        found = steps if values is None else values
        with self.database.transaction() as connection:
            metrics.append(
                connection,
                segment,
                [(metric, s, float(v), 1e9 + s) for s, v in zip(steps, found, strict=True)],
            )

    def end(self, branch: str, status: str = "finished") -> None:
        """Close the branch's current segment."""
        with self.database.transaction() as connection:
            segments.end(connection, self.segment(branch).id, status, actor="test")


def make_tree(
    database: Database,
    store: Store,
    name: str = "demo",
    entry_point: dict[str, Any] | None = ENTRY_POINT,
) -> Tree:
    """An empty run with its branch ``main``, which this process trains."""
    with database.transaction() as connection:
        run = runs.create_run(connection, name, actor="test", entry_point=entry_point)
    tree = Tree(database, store, run)
    tree.branch("main")
    return tree


#: Forked trees as they were grown first, by all that they depend on. Their branches are a copy's:
#: the test that had a tree grown goes on with it, and adds its own.
_GROWN: dict[str, tuple[Copy, Run, dict[str, Branch], list[Node]]] = {}
#: Seconds after which one is grown anew: a training that is no newer than this has not stalled.
_FRESH = 300.0


def make_forked_tree(database: Database, store: Store, **how: Any) -> tuple[Tree, list[Node]]:
    """``main`` with nodes at 0, 10, 20 and 30, and ``cooler`` from 10 with nodes at 10 and 20."""
    if not tree_copies.is_possible(database, store):
        return _grow_forked(make_tree(database, store, **how))
    kind = json.dumps([database.is_sqlite, how], sort_keys=True)
    if kind not in _GROWN or time.time() - _GROWN[kind][1].created_at > _FRESH:
        tree, line = _grow_forked(make_tree(database, store, **how))
        _GROWN[kind] = tree_copies.take(database, store), tree.run, {**tree.branches}, [*line]
        return tree, line
    copy, run, branches, line = _GROWN[kind]
    tree_copies.put(copy, database, store)
    return Tree(database, store, run, {**branches}), [*line]


def _grow_forked(tree: Tree) -> tuple[Tree, list[Node]]:
    root = tree.node("main", 0, kind="root")
    ten = tree.node("main", 10, root, values={"loss": 2.0})
    changed = (Change("lr", 0.01, 0.02),)
    twenty = tree.node(
        "main", 20, ten, kind="intervention", changes=changed, settings={"lr": 0.02}, message="why"
    )
    thirty = tree.node("main", 30, twenty, kind="final", settings={"lr": 0.02})
    tree.branch("cooler", ten)
    lower = (Change("lr", 0.01, 0.001),)
    fork = tree.node("cooler", 10, ten, kind="fork", changes=lower, settings={"lr": 0.001})
    last = tree.node("cooler", 20, fork, settings={"lr": 0.001}, values={"loss": 1.0})
    tree.points("main", "loss", range(1, 31))
    tree.points("cooler", "loss", range(11, 21), range(111, 121))
    return tree, [root, ten, twenty, thirty, fork, last]


def add_checkpoint(
    database: Database, store: Store, seed: int, drawn_from: int | None = None
) -> str:
    """A complete checkpoint of one tensor that depends on ``seed``; returns its state digest.

    The rest of the state depends on ``drawn_from``, if that is another.
    """
    data = np.full(64, seed, "<f4")
    tensor = TensorBytes("model/weight", "F32", (64,), memoryview(data))
    digest = tensor_digest("F32", (64,), tensor.data)
    manifest = Manifest(
        (Entry("model/weight", "F32", (64,), digest),), {"seed": drawn_from or seed}
    )
    with database.read() as connection:
        known = nodes.packs_of(connection, [digest])
    pack = None if known else store.put([(digest, tensor)], {})
    with database.transaction() as connection:
        nodes.add_checkpoint(
            connection,
            manifest.digest,
            manifest.to_json(),
            tensor_count=1,
            logical_bytes=manifest.logical_bytes,
            pack=(pack.id, pack.nbytes) if pack else None,
            locations=pack.locations if pack else (),
        )
    return manifest.digest

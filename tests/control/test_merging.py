"""What cannot be merged is refused before any process starts, and nothing is changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from branchtrack import control
from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.db.tables import metadata
from branchtrack.errors import (
    BranchtrackError,
    CheckpointThinned,
    CodeChanged,
    Forbidden,
    InvalidInput,
    LaunchFailed,
    NameTaken,
    NotFound,
)
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

Forked = tuple[Tree, list[Node]]
ENTRY_POINT = {"argv": [sys.executable, "-c", "raise SystemExit(0)"], "cwd": "/", "env": {}}
HALVES = (0.5, 0.5)


@pytest.fixture
def forked(database: Database, store: Store) -> Forked:
    return make_forked_tree(database, store, entry_point=ENTRY_POINT)


def plan(tree: Tree, a: str, b: str, **how: Any) -> control.PlannedMerge:
    weights = how.pop("weights", HALVES)
    return control.plan_merge(tree.database, tree.store, a, b, weights, actor="ann", **how)


def counted(tree: Tree) -> dict[str, int]:
    with tree.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_nodes_are_named_as_for_a_resume(forked: Forked) -> None:
    tree, made = forked
    before = counted(tree)
    planned = plan(tree, "demo@30", "demo/cooler", weights=(0.25, 0.75), name="soup", reason="why")
    assert (planned.a, planned.b) == (made[3], made[5])
    assert planned.message == "Merge of main@30 and cooler@20, weights 0.25, 0.75: why"
    assert (list(planned.averaged), planned.shared, planned.nbytes) == (["model/weight"], 0, 256)
    order = planned.order(7)
    assert (order.a, order.b, order.name, order.watcher) == (made[3].id, made[5].id, "soup", 7)
    assert plan(tree, made[1].id[:6], "demo/cooler@20").a == made[1]
    assert counted(tree) == before


def test_a_refusal_changes_nothing(forked: Forked) -> None:
    tree, made = forked
    other = make_tree(tree.database, tree.store, "other", ENTRY_POINT)
    other.node("main", 7, kind="root")
    before = counted(tree)
    refusals: list[tuple[tuple[str, str], type[BranchtrackError], str]] = [
        (("demo", "demo"), InvalidInput, "the same state"),
        (("demo@10", "demo/cooler@10"), InvalidInput, "the same state"),
        (("demo", "other"), InvalidInput, "different runs"),
        (("demo", "nothing"), NotFound, "no run|no node"),
    ]
    for refs, kind, words in refusals:
        with pytest.raises(kind, match=words):
            plan(tree, *refs)
    with pytest.raises(NameTaken):
        plan(tree, "demo@30", "demo@10", name="cooler")
    with pytest.raises(InvalidInput, match="name"):
        plan(tree, "demo@30", "demo@10", name="no/name")
    with pytest.raises(Forbidden):
        control.plan_merge(
            tree.database, tree.store, "demo", "demo@10", HALVES, actor=Actor("eve", "viewer")
        )
    with pytest.raises(InvalidInput, match="reason"):
        control.plan_merge(
            tree.database, tree.store, "demo", "demo@10", HALVES, actor=Actor("bot", "agent")
        )
    assert counted(tree) == before and made


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"model/weight": np.zeros(65, "<f4")}, "weight is 64 in A and 65 in B"),
        ({"model/weight": np.zeros(64, "<f8")}, "weight is F32 in A and F64 in B"),
        ({"model/bias": np.zeros(64, "<f4")}, "A has the tensor weight, and B does not"),
        (
            {"model/weight": np.zeros(64, "<f4"), "model/bias": np.zeros(1, "<f4")},
            "B has the tensor bias, and A does not",
        ),
    ],
)
def test_different_models_are_refused_with_the_first_difference(
    forked: Forked, other: dict[str, Any], words: str
) -> None:
    tree, _made = forked
    commit(tree, 40, other)
    with pytest.raises(InvalidInput, match=words) as error:
        plan(tree, "demo@30", "demo@40")
    assert error.value.field == "b"


def test_the_same_weights_in_another_state_are_refused(forked: Forked) -> None:
    tree, _made = forked
    commit(tree, 40, {"model/weight": np.full(64, 30, "<f4"), "optimizer/m": np.zeros(2, "<f4")})
    with pytest.raises(InvalidInput, match="the same weights"):
        plan(tree, "demo@30", "demo@40")


def test_weights_that_are_left_are_enough_and_recipes_are_not(forked: Forked) -> None:
    tree, made = forked
    with tree.database.transaction() as connection:
        thinning.mark(connection, {made[1].state_digest: "weights"})
    assert plan(tree, "demo@30", "demo@10").b == made[1]
    with tree.database.transaction() as connection:
        thinning.mark(connection, {made[1].state_digest: "recipe"})
    with pytest.raises(CheckpointThinned, match="rebuild"):
        plan(tree, "demo@30", "demo@10")


def test_a_run_that_cannot_be_started_is_refused(forked: Forked) -> None:
    tree, _made = forked
    gone = make_tree(tree.database, tree.store, "gone", {**ENTRY_POINT, "cwd": "/no/such/folder"})
    root = gone.node("main", 50, kind="root")
    gone.node("main", 51, root)
    with pytest.raises(LaunchFailed, match="is gone"):
        plan(gone, "gone@50", "gone@51")


def test_code_that_has_changed_is_refused_unless_it_is_allowed(
    forked: Forked, tmp_path: Path
) -> None:
    tree, _made = forked
    script = tmp_path / "train.py"
    script.write_text("pass\n")
    command = {"argv": [sys.executable, str(script)], "cwd": str(tmp_path), "env": {}}
    changed = make_tree(tree.database, tree.store, "changed", command)
    parent = None
    for step in (60, 61):
        planned = changed.planned("main", step, parent, commit_digest(changed, step))
        values = {**vars(planned), "environment": {"script": "0" * 12}}
        with tree.database.transaction() as connection:
            parent = nodes.commit(connection, type(planned)(**values))
    with pytest.raises(CodeChanged):
        plan(changed, "changed@60", "changed@61", allow_code_change=False)
    assert plan(changed, "changed@60", "changed@61").averaged


def commit_digest(tree: Tree, step: int) -> str:
    return commit_state(tree, {"model/weight": np.full(64, step, "<f4")})


def commit(tree: Tree, step: int, tensors: dict[str, Any]) -> Node:
    """A node at the end of ``main`` with these tensors."""
    with tree.database.read() as connection:
        head = nodes.find(connection, "demo")
    planned = tree.planned("main", step, head, commit_state(tree, tensors))
    with tree.database.transaction() as connection:
        return nodes.commit(connection, planned)


def commit_state(tree: Tree, tensors: dict[str, Any]) -> str:
    dtypes = {"<f4": "F32", "<f8": "F64"}
    entries, contents = [], {}
    for name, values in tensors.items():
        dtype = dtypes[values.dtype.str]
        content = TensorBytes(name, dtype, values.shape, memoryview(values))
        digest = tensor_digest(dtype, values.shape, content.data)
        entries.append(Entry(name, dtype, values.shape, digest))
        contents[digest] = content
    manifest = Manifest(tuple(entries), {"tensors": len(tensors)})
    with tree.database.read() as connection:
        known = nodes.packs_of(connection, contents)
    fresh = [(digest, content) for digest, content in contents.items() if digest not in known]
    pack = tree.store.put(fresh, {}) if fresh else None
    with tree.database.transaction() as connection:
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

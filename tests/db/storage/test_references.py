"""What a checkpoint needs is what its manifest names, as far as it was not thinned."""

from __future__ import annotations

import json
import zlib

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage import references, thinning
from tests.retention.trees import chain, tensor
from tests.trees_for_tests import make_tree

WEIGHT, OPTIMIZER, FROZEN = (
    tensor(name, value)[0]
    for name, value in (("model/weight", 10), ("optimizer/weight", 10), ("model/frozen", 1))
)


def test_what_is_left_decides_what_counts(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    node = chain(tree, count=2)[1]
    expected = {None: {WEIGHT, OPTIMIZER, FROZEN}, "weights": {WEIGHT, FROZEN}, "recipe": set()}
    with database.read() as connection:
        for left, digests in expected.items():
            listed = dict(
                (reference.checkpoint, (set(reference.tensors), set(lost)))
                for reference, lost in references.losses(connection, {node.state_digest: left})
            )
            assert listed.pop(node.state_digest) == (digests, expected[None])
            assert [lost for _needed, lost in listed.values()] == [set()]
        assert len(list(references.of_all(connection))) == 2
    with database.transaction() as connection:
        thinning.mark(connection, {node.state_digest: "recipe"})
    with database.read() as connection:
        assert references.of_run(connection, tree.run.id)[node.state_digest] == "recipe"
        assert references.states(connection)[node.state_digest] == "recipe"
        assert nodes.thinned(connection, node.state_digest) == "recipe"


def test_all_are_read_however_few_at_a_time(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(database, store)
    digests = {node.state_digest for node in chain(tree, count=5)}
    monkeypatch.setattr(references, "_CHUNK", 2)
    with database.read() as connection:
        listed = [reference.checkpoint for reference in references.of_all(connection)]
        assert len(listed) == 5 and set(listed) == digests
        assert len(list(references.losses(connection, {}))) == 5


def test_a_text_that_looks_like_an_entry_keeps_too_much_never_too_little() -> None:
    entry = ["model/w", "F32", [1], WEIGHT]
    manifest = {"tensors": [entry], "state": {"note": [OPTIMIZER]}}
    packed = zlib.compress(json.dumps(manifest, separators=(",", ":")).encode())
    assert set(references.tensors_of(packed, None)) == {WEIGHT, OPTIMIZER}

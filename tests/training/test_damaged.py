"""What an order does not read, the process that loads it does: nothing is trained from damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.errors import CheckpointDamaged
from tests.training.homes import Home


def flip(home: Home, node: Node) -> None:
    """Flip one bit in a weight that no other node has."""
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest)
    weights = [each for each in stored.locations.values() if each.name.startswith("model/")]
    location = max(weights, key=lambda each: each.nbytes)
    path = Path(home.store.describe(location.pack))
    content = bytearray(path.read_bytes())
    content[location.offset + location.nbytes // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_state_is_refused_before_training(home: Home) -> None:
    home.train()
    node = home.node(4)
    flip(home, node)
    launch = home.order(node, {"lr": 1e-4}, name="never")
    with pytest.raises(CheckpointDamaged, match="differ from what was stored"):
        home.train(launch)
    # The worker that started it removes the branch (`tests/launching/test_worker.py`).
    assert home.segment("tiny/never").started_at is None
    assert [each.id for each in home.nodes("tiny/never")] == [launch.fork_node_id]
    home.resume(home.node(2))

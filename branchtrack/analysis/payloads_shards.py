"""The JSON form of a branch's data: its shards, and how many samples it has seen of each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from branchtrack.core.records import Branch, Node
from branchtrack.core.shards.composition import SETTING, Composition, Shard
from branchtrack.db import nodes, runs
from branchtrack.db.storage.compositions import composition_of
from branchtrack.db.views import shard_history
from branchtrack.db.views.shard_history import Stretch


def branch_data(connection: Connection, branch: Branch) -> dict[str, Any]:
    """Return the shards of a branch as of its newest node, those it has left behind last.

    Keys: ``branch node step value samples shards changes``. A shard is ``name fingerprint source
    count weight share in_use samples own_samples passes``: ``weight`` and ``share`` (of 1) are None
    for one that is not ``in_use``; ``own_samples`` were trained on since the branch began.
    A change is ``step node value``. Without shards ``value`` is None.
    """
    name = f"{runs.get_run(connection, branch.run_id).name}/{branch.name}"
    facts: dict[str, Any] = {"branch": name, "node": None, "step": None, "value": None}
    if branch.head_id is None:
        return {**facts, "samples": 0, "shards": [], "changes": []}
    head = nodes.get(connection, branch.head_id)
    changes = shard_history.stretches(connection, head.id)
    counts = shard_history.drawn(connection, head)
    before = _before(connection, branch)
    current = composition_of(connection, head.settings) or Composition(())
    total = sum(shard.effective_weight for shard in current.shards)
    shards = {shard.key: shard for shard in _all(connection, changes)}
    # What is recorded of a shard that is drawn from now is the newest.
    shards |= {shard.key: shard for shard in current.shards}
    in_use = {shard.key for shard in current.shards}
    order = [
        *(shard.key for shard in current.shards),
        *(key for key in shards if key not in in_use),
    ]
    return {
        **facts,
        "node": head.id,
        "step": head.step,
        "value": head.settings.get(SETTING),
        "samples": sum(counts.values()),
        "shards": [
            _shard(shards[key], counts.get(key, 0), before.get(key, 0), total, key in in_use)
            for key in order
        ],
        "changes": [stretch._asdict() for stretch in changes if stretch.value],
    }


def _shard(shard: Shard, samples: int, before: int, total: float, in_use: bool) -> dict[str, Any]:
    return {
        "name": shard.name,
        "fingerprint": shard.fingerprint,
        "source": shard.source or None,
        "count": shard.count,
        "weight": shard.effective_weight if in_use else None,
        "share": shard.effective_weight / total if in_use else None,
        "in_use": in_use,
        "samples": samples,
        "own_samples": samples - before,
        "passes": samples / shard.count,
    }


def _all(connection: Connection, changes: list[Stretch]) -> list[Shard]:
    compositions = (
        composition_of(connection, {SETTING: stretch.value}) for stretch in changes if stretch.value
    )
    return [shard for composition in compositions if composition for shard in composition.shards]


def _before(connection: Connection, branch: Branch) -> dict[str, int]:
    """Return what had been drawn where the branch began."""
    if branch.start_node_id is None:
        return {}
    start: Node = nodes.get(connection, branch.start_node_id)
    return shard_history.drawn(connection, start)

"""The JSON form of a branch's data: its shards, and how many samples it has seen of each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.records import Branch
from branchtrack.core.shards.composition import Composition, Shard
from branchtrack.db.storage.compositions import compositions
from branchtrack.db.views import shard_history


def branch_data(connection: Connection, branch: Branch) -> dict[str, Any]:
    """Return the shards of a branch as of its newest node, those it has left behind last.

    Keys: ``branch node step value samples shards changes``. A shard is ``name fingerprint source
    count weight share in_use samples own_samples passes``: ``weight`` and ``share`` (of 1) are None
    for one that is not ``in_use``; ``own_samples`` were trained on since the branch began.
    A change is ``step node value``. Without shards ``value`` is None.
    """
    ends = shard_history.ends(connection, branch)
    changes = [] if branch.head_id is None else shard_history.stretches(connection, branch.head_id)
    changes = [stretch for stretch in changes if stretch.value is not None]
    known = compositions(connection, [ends.value, *(stretch.value for stretch in changes)])
    current = known.get(ends.value) or Composition(())
    # A fork records the change that was requested, and its first node what that came to.
    resolved = (stretch._replace(value=_resolved(known, stretch.value)) for stretch in changes)
    changes = [next(same) for _value, same in groupby(resolved, key=lambda row: row.value)]
    total = sum(shard.effective_weight for shard in current.shards)
    shards = {shard.key: shard for stretch in changes for shard in _of(known, stretch.value)}
    # What is recorded of a shard that is drawn from now is the newest.
    shards |= {shard.key: shard for shard in current.shards}
    in_use = [shard.key for shard in current.shards]
    order = [*in_use, *(key for key in shards if key not in in_use)]
    return {
        "branch": f"{ends.run}/{branch.name}",
        "node": branch.head_id,
        "step": ends.step,
        "value": _resolved(known, ends.value),
        "samples": sum(ends.drawn.values()),
        "shards": [
            _shard(
                shards[key], ends.drawn.get(key, 0), ends.before.get(key, 0), total, key in in_use
            )
            for key in order
        ],
        "changes": [stretch._asdict() for stretch in changes],
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


def _resolved(known: Mapping[Any, Composition], value: str | None) -> str | None:
    return known[value].value if value in known else value


def _of(known: Mapping[Any, Composition], value: str | None) -> tuple[Shard, ...]:
    return known[value].shards if value in known else ()
